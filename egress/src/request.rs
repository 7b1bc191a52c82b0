//! One request by HTTP: placeholders filled, sent once, its reply read whole and looked through.

use crate::connection::{self, Connection, HEAD_BYTES_MAX, Owner};
use crate::hidden::Hidden;
use crate::reach::Reach;
use crate::shared::Shared;
use bytes::Bytes;
use capabilities::{Accepted, Argument};
use contract::base64;
use contract::headers::{Headers, Part, parts};
use contract::lend::Lent;
use contract::perform::Spec;
use contract::url::Url;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue,
    TRANSFER_ENCODING,
};
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use serde_json::{Value as Json, json};
use zeroize::{Zeroize, Zeroizing};

/// Longest body of a reply, in bytes.
const REPLY_BYTES_MAX: usize = 4 << 20;

/// What a step gives, or the code of a failure.
pub(crate) type Step<T> = Result<T, &'static str>;

/// What goes on the wire, but for where it goes.
pub(crate) struct Prepared {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// What must not stand in the reply.
    pub(crate) hidden: Hidden,
    /// The versions of the secrets that it was made with.
    pub(crate) versions: Vec<(String, u64)>,
}

/// What came back, whole.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    address: String,
}

/// `network.http_request`.
pub(crate) async fn perform(shared: &Shared, spec: &Spec, input: &Accepted) -> Step<Json> {
    let prepared = prepare(shared, spec, input).await?;
    let reply = exchange(shared, spec, prepared).await?;
    Ok(answer(&reply))
}

/// Takes the input apart, and borrows what its placeholders stand for.
async fn prepare(shared: &Shared, spec: &Spec, input: &Accepted) -> Step<Prepared> {
    let Some(Argument::Url(url)) = input.get("url") else { return Err("bad_input") };
    let method = match input.get("method") {
        Some(Argument::Text(method)) => {
            Method::from_bytes(method.as_bytes()).map_err(|_no_method| "bad_input")?
        }
        _ => Method::GET,
    };
    let body = match (input.get("body"), input.get("base64")) {
        (Some(Argument::Text(text)), Some(Argument::Flag(true))) => {
            base64::read(text).ok_or("bad_base64")?
        }
        (Some(Argument::Text(text)), _) => text.as_bytes().to_vec(),
        _ => Vec::new(),
    };
    let none = Headers::parse([]).map_err(|_never| "bad_input")?;
    let given = match input.get("headers") {
        Some(Argument::Headers(headers)) => headers,
        _ => &none,
    };
    if !given.secrets().is_empty() && !url.tls {
        return Err("secret_refused");
    }
    let mut lent: Vec<(String, Lent, u64)> = Vec::new();
    for name in given.secrets() {
        let (value, version) = shared.vault.lend(spec.call, name).await?;
        lent.push((name.clone(), value, version));
    }
    let values = lent.iter().flat_map(|(_, lent, _)| lent.hides.iter().chain([&lent.value]));
    let hidden = Hidden::new(values.map(|bytes| bytes.0.as_slice()))?;
    let headers = fill(given, &lent)?;
    let versions = lent.iter().map(|(name, _, version)| (name.clone(), *version)).collect();
    for (_, lent, _) in &mut lent {
        lent.hides.iter_mut().chain([&mut lent.value]).for_each(|bytes| bytes.0.zeroize());
    }
    Ok(Prepared { method, url: url.clone(), headers, body: body.into(), hidden, versions })
}

/// The headers as they go on the wire.
fn fill(given: &Headers, lent: &[(String, Lent, u64)]) -> Step<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in given.iter() {
        let mut bytes = Zeroizing::new(Vec::new());
        let mut is_secret = false;
        for part in parts(value).map_err(|_bad| "bad_input")? {
            match part {
                Part::Text(text) => bytes.extend_from_slice(text.as_bytes()),
                Part::Secret(secret) => {
                    let found = lent.iter().find(|(name, ..)| name == secret);
                    let (_, found, _) = found.ok_or("secret_refused")?;
                    bytes.extend_from_slice(&found.value.0);
                    is_secret = true;
                }
            }
        }
        let mut value = HeaderValue::from_bytes(&bytes).map_err(|_control| "secret_refused")?;
        value.set_sensitive(is_secret);
        let name = hyper::header::HeaderName::from_bytes(name.as_bytes());
        headers.insert(name.map_err(|_bad| "bad_input")?, value);
    }
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Ok(headers)
}

async fn open(shared: &Shared, url: &Url, reach: Reach<'_>) -> Step<Connection> {
    let addresses = connection::addresses(&shared.servers(), &url.host, reach).await?;
    let tls = if url.tls { Some(shared.settings.borrow().tls(&url.host)?) } else { None };
    connection::open(&addresses, &url.host, url.port, tls).await
}

/// Sends a request once, over a connection that is kept or a new one, and reads its reply.
pub(crate) async fn exchange(shared: &Shared, spec: &Spec, prepared: Prepared) -> Step<Reply> {
    let own = shared.own();
    let reach = Reach { decided: &spec.reach, own: &own };
    let owner = Owner {
        agent: spec.agent.name.clone(),
        host: prepared.url.host.clone(),
        port: prepared.url.port,
        tls: prepared.url.tls,
        secrets: prepared.versions.clone(),
    };
    let kept = shared.idle.take(&owner, reach);
    let mut connection = match kept {
        Some(connection) => connection,
        None => open(shared, &prepared.url, reach).await?,
    };
    let hidden = &prepared.hidden;
    let request = request(&prepared, connection.is_http2())?;
    let reply = connection.send(request).await.map_err(|error| {
        // a kept connection that its server closed: the request may have arrived, so it is not sent again
        match () {
            () if error.is_parse_too_large() => "too_large",
            () if error.is_parse() || error.is_user() => "bad_reply",
            () => "not_connected",
        }
    })?;
    check(&reply, hidden)?;
    let (status, headers) = (reply.status(), reply.headers().clone());
    let body = read(reply).await?;
    let shown = headers.iter().map(|(_, value)| value.as_bytes());
    if hidden.stands_in(&body) || shown.into_iter().any(|value| hidden.stands_in(value)) {
        return Err("secret_in_reply");
    }
    let address = connection.address.to_string();
    shared.idle.keep(owner, connection);
    Ok(Reply { status, headers, body, address })
}

fn request(prepared: &Prepared, is_http2: bool) -> Step<Request<Full<Bytes>>> {
    let Url { tls, target, .. } = &prepared.url;
    let authority = prepared.url.authority();
    let mut builder = Request::builder().method(prepared.method.clone());
    builder = if is_http2 {
        let scheme = if *tls { "https" } else { "http" };
        let uri =
            Uri::builder().scheme(scheme).authority(authority).path_and_query(target.as_str());
        builder.version(Version::HTTP_2).uri(uri.build().map_err(|_bad| "bad_input")?)
    } else {
        builder.uri(target.as_str()).header(HOST, authority)
    };
    if let Some(headers) = builder.headers_mut() {
        headers.extend(prepared.headers.clone());
    }
    builder.body(Full::new(prepared.body.clone())).map_err(|_bad| "bad_input")
}

/// Refuses a reply that can be read in two ways, or that cannot be looked through.
fn check(reply: &Response<Incoming>, hidden: &Hidden) -> Step<()> {
    let headers = reply.headers();
    if reply.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err("bad_reply");
    }
    if headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH) {
        return Err("bad_reply");
    }
    let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    if bytes.sum::<usize>() > HEAD_BYTES_MAX {
        return Err("too_large");
    }
    let plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    let encoded = headers.get_all(CONTENT_ENCODING).iter().any(|value| !plain(value));
    if encoded && hidden.is_asked() { Err("encoded_reply") } else { Ok(()) }
}

async fn read(reply: Response<Incoming>) -> Step<Bytes> {
    match Limited::new(reply.into_body(), REPLY_BYTES_MAX).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err("too_large"),
        Err(_broken) => Err("bad_reply"),
    }
}

fn answer(reply: &Reply) -> Json {
    let Reply { status, headers, body, address } = reply;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers: Vec<Json> = headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), text(value.as_bytes())]))
        .collect();
    let (body, is_base64) = match std::str::from_utf8(body) {
        Ok(text) => (text.to_owned(), false),
        Err(_no_text) => (base64::write(body), true),
    };
    json!({
        "status": status.as_u16(),
        "headers": headers,
        "body": body,
        "base64": is_base64,
        "address": address,
    })
}

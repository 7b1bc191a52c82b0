//! Secrets: on the wire where they were lent, in no reply that is given, and nowhere else.

use super::*;
use contract::digits::hex;

const VALUE: &str = "canary/4f+9 value";

fn with_secret(url: &str) -> Json {
    json!({ "url": url, "headers": { "authorization": "Bearer ${secret:token}" } })
}

fn lending(world: &World) -> Box {
    let the_box = Box::new(world, &["api.example"]);
    the_box.secrets.borrow_mut().insert("token".to_owned(), (VALUE.to_owned(), 1));
    the_box
}

#[test]
fn a_placeholder_is_filled_in_a_header_by_https_and_stays_one_elsewhere() {
    let world = World::new();
    world.names(&[("api.example", WEB)], |_| Vec::new());
    let seen = world.plain(WEB, &["api.example"], "done");
    let plain = world.serve(WEB, 80, None, |_| ok(b"plain"));
    let the_box = lending(&world);
    let reply = the_box.request(&with_secret("https://api.example/v1?q=1")).unwrap();
    assert_eq!((reply["status"].clone(), reply["body"].clone()), (json!(200), json!("done")));
    let sent = seen.requests().concat();
    assert!(sent.starts_with("GET /v1?q=1 HTTP/1.1\r\n"), "{sent}");
    assert!(sent.contains(&format!("authorization: Bearer {VALUE}\r\n")), "{sent}");
    assert!(
        sent.contains("accept-encoding: identity\r\n") && sent.contains("host: api.example\r\n")
    );
    assert!(!reply.to_string().contains("canary"));
    // by http it goes nowhere; without one the same request does
    assert_eq!(the_box.request(&with_secret("http://api.example/")), Err("secret_refused"));
    assert_eq!(plain.connections(), 0);
    assert_eq!(the_box.request(&json!({ "url": "http://api.example/" })).unwrap()["body"], "plain");
    // what is no header is sent as it stands
    let body =
        json!({ "url": "https://api.example/b", "method": "POST", "body": "${secret:token}" });
    the_box.request(&body).unwrap();
    let sent = seen.requests().pop().unwrap();
    assert!(sent.ends_with("\r\n\r\n${secret:token}") && !sent.contains("canary"), "{sent}");
    // one that the vault does not lend, and a vault that is not there
    the_box.secrets.borrow_mut().clear();
    assert_eq!(the_box.request(&with_secret("https://api.example/")), Err("secret_refused"));
    assert_eq!(seen.requests().len(), 2, "nothing was sent");
}

#[test]
fn a_reply_that_shows_what_was_lent_is_not_given_in_any_form() {
    let world = World::new();
    world.names(&[("api.example", WEB)], |_| Vec::new());
    let shown = |path: &str| -> Vec<u8> {
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        match path {
            "/plain" => ok(VALUE.as_bytes()),
            "/base64" => ok(contract::base64::write(format!("x{VALUE}yz").as_bytes()).as_bytes()),
            "/hex" => ok(hex(VALUE.as_bytes()).as_bytes()),
            "/percent" => ok(b"canary%2F4f%2B9%20value"),
            "/json" => ok(br#"{"a":"canary\/4f+9 value"}"#),
            "/split" => {
                let (one, two) = VALUE.split_at(5);
                let parts = format!("{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n", one.len(), two.len());
                format!("{chunked}{parts}").into_bytes()
            }
            "/header" => format!("HTTP/1.1 200 OK\r\nx-echo: {VALUE}\r\ncontent-length: 0\r\n\r\n").into_bytes(),
            "/error" => format!("HTTP/1.1 500 No\r\ncontent-length: {}\r\n\r\n{VALUE}", VALUE.len()).into_bytes(),
            "/gzip" => b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n\x1f\x8b".to_vec(),
            "/redirect" => b"HTTP/1.1 302 Found\r\nlocation: https://other.example/\r\ncontent-length: 0\r\n\r\n".to_vec(),
            _ => ok(b"nothing of it"),
        }
    };
    let tls = world.authority.server(&["api.example"], false);
    let seen = world.serve(WEB, 443, Some(tls), move |request| {
        shown(request.split(' ').nth(1).unwrap_or_default())
    });
    let the_box = lending(&world);
    let ask = |path: &str| the_box.request(&with_secret(&format!("https://api.example{path}")));
    for path in ["/plain", "/base64", "/hex", "/percent", "/json", "/split", "/header", "/error"] {
        assert_eq!(ask(path), Err("secret_in_reply"), "{path}");
    }
    assert_eq!(ask("/gzip"), Err("encoded_reply"));
    assert_eq!(ask("/none").unwrap()["body"], "nothing of it");
    // it is the reply, and nothing more is asked
    let redirect = ask("/redirect").unwrap();
    assert_eq!(redirect["status"], 302);
    assert!(redirect["headers"].to_string().contains("other.example"));
    assert_eq!(seen.requests().len(), 11);
    // a call that was lent nothing learns nothing of what others were: the same bytes are only bytes
    let guess = json!({ "url": "https://api.example/plain" });
    assert_eq!(the_box.request(&guess).unwrap()["body"], VALUE);
    assert!(the_box.request(&json!({ "url": "https://api.example/gzip" })).is_ok());
}

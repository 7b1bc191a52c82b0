//! The second version of HTTP, where a server speaks it: the same request, the same looks at its reply.

use super::*;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_rustls::TlsAcceptor;

const VALUE: &str = "canary-of-http2";

/// A server that gives back what the header `authorization` held, at `/echo`.
async fn answer(
    request: Request<Incoming>,
    seen: Seen,
) -> Result<Response<Full<bytes::Bytes>>, hyper::Error> {
    let held =
        request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let held = held.unwrap_or_default();
    let line = format!("{:?} {} {} {held}", request.version(), request.method(), request.uri());
    seen.0.lock().unwrap().0.push(line);
    let body = if request.uri().path() == "/echo" { held } else { "nothing of it".to_owned() };
    Ok(Response::new(Full::new(body.into())))
}

fn serve(world: &World) -> Seen {
    let seen = Seen::default();
    let at = SocketAddr::new(WEB.parse().unwrap(), 443);
    let listener = world.outside(move || TcpListener::bind(at).unwrap());
    listener.set_nonblocking(true).unwrap();
    let mut config = world.authority.server(&["api.example"], false);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let kept = seen.clone();
    std::thread::spawn(move || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap().block_on(async {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                kept.0.lock().unwrap().1 += 1;
                let (kept, acceptor) = (kept.clone(), acceptor.clone());
                tokio::spawn(async move {
                    let stream = TokioIo::new(acceptor.accept(stream).await.unwrap());
                    let service = service_fn(|request| answer(request, kept.clone()));
                    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    // who asked may go
                    builder.serve_connection(stream, service).await.ok();
                });
            }
        });
    });
    seen
}

#[test]
fn what_holds_of_a_request_holds_by_http2_too() {
    let world = World::new();
    world.names(&[("api.example", WEB)], |_| Vec::new());
    let seen = serve(&world);
    let the_box = Box::new(&world, &["api.example"]);
    the_box.secrets.borrow_mut().insert("token".to_owned(), (VALUE.to_owned(), 1));
    let headers = json!({ "authorization": "${secret:token}" });
    let asked =
        |path: &str| json!({ "url": format!("https://api.example{path}"), "headers": headers });
    the_box.run(async |shared| {
        assert_eq!(ask(shared, "a", &asked("/x?y=1")).await.unwrap()["body"], "nothing of it");
        assert_eq!(ask(shared, "a", &asked("/z")).await.unwrap()["body"], "nothing of it");
        assert_eq!(ask(shared, "a", &asked("/echo")).await, Err("secret_in_reply"));
    });
    let line = |target: &str| format!("HTTP/2.0 GET https://api.example{target} {VALUE}");
    assert_eq!(seen.requests(), [line("/x?y=1"), line("/z"), line("/echo")]);
    assert_eq!(seen.connections(), 1);
}

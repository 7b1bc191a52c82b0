//! Replies that are none, that are too long, or that can be read in two ways.

use super::*;

#[test]
fn a_reply_is_one_reply_of_bounded_length_or_none() {
    let world = World::new();
    world.names(&[("api.example", WEB)], |_| Vec::new());
    let tls = world.authority.server(&["api.example"], false);
    world.serve(WEB, 443, Some(tls), move |request| {
        match request.split(' ').nth(1).unwrap_or_default() {
            "/good" => ok(b"good"),
            "/twice" => b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab".to_vec(),
            "/upgrade" => b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n".to_vec(),
            "/fold" => b"HTTP/1.1 200 OK\r\nx-a: 1\r\n 2\r\ncontent-length: 0\r\n\r\n".to_vec(),
            "/space" => b"HTTP/1.1 200 OK\r\nx-a : 1\r\ncontent-length: 0\r\n\r\n".to_vec(),
            "/garbage" => b"\x00\x01\x02 no reply\r\n\r\n".to_vec(),
            "/chunk" => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n".to_vec(),
            "/long" => {
                let body = vec![b'a'; (4 << 20) + 1];
                ok(&body)
            }
            "/most" => ok(&vec![b'a'; 4 << 20]),
            "/head" => format!("HTTP/1.1 200 OK\r\nx-a: {}\r\ncontent-length: 0\r\n\r\n", "a".repeat(80 << 10)).into_bytes(),
            "/huge" => format!("HTTP/1.1 200 OK\r\nx-a: {}\r\n\r\n", "a".repeat(1 << 20)).into_bytes(),
            "/headers" => {
                let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
                format!("HTTP/1.1 200 OK\r\n{many}content-length: 0\r\n\r\n").into_bytes()
            }
            // an end before the reply's
            _ => Vec::new(),
        }
    });
    let the_box = Box::new(&world, &["api.example"]);
    let ask = |path: &str| the_box.request(&json!({ "url": format!("https://api.example{path}") }));
    assert_eq!(ask("/good").unwrap()["body"], "good");
    assert_eq!(ask("/most").unwrap()["body"].as_str().map(str::len), Some(4 << 20));
    for (path, code) in [
        ("/twice", "bad_reply"),
        ("/upgrade", "bad_reply"),
        ("/fold", "bad_reply"),
        ("/space", "bad_reply"),
        ("/garbage", "bad_reply"),
        ("/chunk", "bad_reply"),
        ("/long", "too_large"),
        ("/head", "too_large"),
        ("/huge", "too_large"),
        ("/headers", "too_large"),
        ("/end", "not_connected"),
    ] {
        assert_eq!(ask(path).map(|reply| reply["status"].clone()), Err(code), "{path}");
    }
}

#[test]
fn what_a_request_is_made_of_cannot_become_another_request() {
    let world = World::new();
    let the_box = Box::new(&world, &["api.example"]);
    for headers in [
        json!({ "host": "other.example" }),
        json!({ "content-length": "0" }),
        json!({ "transfer-encoding": "chunked" }),
        json!({ "connection": "upgrade" }),
        json!({ "x-a": "1\r\nx-b: 2" }),
        json!({ "x-a\r\nx-b": "1" }),
        json!({ "x-a": "${secret:a" }),
        json!({ "referer": "${secret:a}" }),
    ] {
        let input = json!({ "url": "https://api.example/", "headers": headers });
        assert_eq!(the_box.request(&input), Err("bad_input"), "{input}");
    }
    for url in [
        "https://api.example/a b",
        "https://api.example/\r\nx: y",
        "https://other.example@api.example/",
        "https://127.1/",
        "https://0x7f.0.0.1/",
        "https://2130706433/",
        "https://[::1%25lo]/",
        "https://api.example/%2e%2e/admin",
        "gopher://api.example/",
    ] {
        assert_eq!(the_box.request(&json!({ "url": url })), Err("bad_input"), "{url}");
    }
}

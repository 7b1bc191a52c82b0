//! Events: signed with a key that is never sent, and taken or not.

use super::*;
use crate::webhook;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// As the vault lends it: the bytes of a key, here of text so that a canary can be looked for.
const KEY: &str = "canary-key-of-thirty-two-bytes-x";

fn event(the_box: &Box, url: &str, id: &str, body: &str) -> Result<Json, &'static str> {
    let input = json!({ "url": url, "secret": "hook", "id": id, "body": body });
    the_box.run(async |shared| {
        let declaration = find("network.webhook").unwrap();
        let accepted = declaration.accept(&input).map_err(|_refused| "bad_input")?;
        let spec = Spec {
            call: [1; 16],
            capability: declaration.id(),
            agent: AgentPlace { name: "box".to_owned(), disk_uid: 0 },
            effects: declaration.lower(&accepted).unwrap(),
            input: [0; 32],
            limits: Limits::MOST,
            alone: false,
            streams: false,
            reach: public(),
        };
        webhook::perform(shared, &spec, &accepted).await
    })
}

#[test]
fn an_event_is_signed_with_a_key_that_stays_and_its_reply_is_a_status() {
    let world = World::new();
    world.names(&[("hooks.example", WEB)], |_| Vec::new());
    let tls = world.authority.server(&["hooks.example"], false);
    let seen = world.serve(WEB, 443, Some(tls), |request| {
        match request.split(' ').nth(1).unwrap_or_default() {
            "/taken" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
            "/gone" => b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n".to_vec(),
            _ => b"HTTP/1.1 302 Found\r\nlocation: /taken\r\ncontent-length: 0\r\n\r\n".to_vec(),
        }
    });
    let the_box = Box::new(&world, &["hooks.example"]);
    the_box.secrets.borrow_mut().insert("hook".to_owned(), (KEY.to_owned(), 1));
    let send = |path: &str| {
        event(&the_box, &format!("https://hooks.example{path}"), "asked-1", "{\"type\":\"x\"}")
    };
    assert_eq!(send("/taken"), Ok(json!({ "status": 204 })));
    assert_eq!(send("/gone"), Err("not_taken"));
    assert_eq!(send("/elsewhere"), Err("not_taken"), "a redirect is not followed");
    let requests = seen.requests();
    assert_eq!(requests.len(), 3);
    for request in &requests {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let header = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
            line.unwrap_or_else(|| panic!("no {name} in {head}"))
        };
        let mut mac = Hmac::<Sha256>::new_from_slice(KEY.as_bytes()).unwrap();
        let (id, seconds) = (header("webhook-id"), header("webhook-timestamp"));
        mac.update(format!("{id}.{seconds}.{body}").as_bytes());
        let signature = header("webhook-signature").strip_prefix("v1,").unwrap();
        let signature = contract::base64::read(signature).unwrap();
        mac.verify_slice(&signature).unwrap();
        assert_eq!((id, header("content-type")), ("asked-1", "application/json"));
        assert!(head.starts_with("POST ") && !request.contains("canary"), "{request}");
    }
}

#[test]
fn what_is_no_event_or_has_no_key_is_not_sent() {
    let world = World::new();
    world.names(&[("hooks.example", WEB)], |_| Vec::new());
    let seen = world.plain(WEB, &["hooks.example"], "done");
    let the_box = Box::new(&world, &["hooks.example"]);
    let send = |url: &str, id: &str, body: &str| event(&the_box, url, id, body);
    let url = "https://hooks.example/";
    assert_eq!(send(url, "one", "{}"), Err("secret_refused"));
    the_box.secrets.borrow_mut().insert("hook".to_owned(), (KEY.to_owned(), 1));
    assert_eq!(send(url, "one.two", "{}"), Err("bad_event"));
    assert_eq!(send(url, "one", "{"), Err("bad_event"));
    assert_eq!(send("http://hooks.example/", "one", "{}"), Err("secret_refused"));
    assert_eq!(seen.requests().len(), 0);
    assert_eq!(send(url, "one", "{}"), Ok(json!({ "status": 200 })));
}

//! Who a server must prove to be, and who may use a connection again.

use super::*;

#[test]
fn a_server_is_its_hosts_or_nothing_is_said_to_it() {
    let world = World::new();
    let zone = ["good", "old", "stranger", "foreign", "beneath.deep"].map(|name| match name {
        "good" => ("good.example", WEB),
        "old" => ("old.example", OTHER),
        "stranger" => ("stranger.example", WEB6),
        "foreign" => ("foreign.example", PRIVATE),
        _ => ("beneath.deep.example", WEB),
    });
    world.names(&zone, |_| Vec::new());
    let good = world.plain(WEB, &["good.example", "beneath.deep.example", WEB], "good");
    let old = world
        .serve(OTHER, 443, Some(world.authority.server(&["old.example"], true)), |_| ok(b"old"));
    let stranger =
        world.serve(WEB6, 443, Some(Authority::new().server(&["stranger.example"], false)), |_| {
            ok(b"stranger")
        });
    let all = ["good.example", "old.example", "stranger.example", "*.deep.example", WEB];
    let the_box = Box::new(&world, &all);
    let ask =
        |the_box: &Box, host: &str| the_box.request(&json!({ "url": format!("https://{host}/") }));
    for host in ["good.example", "beneath.deep.example", WEB] {
        assert_eq!(ask(&the_box, host).unwrap()["body"], "good", "{host}");
    }
    assert_eq!(ask(&the_box, "old.example"), Err("not_trusted"));
    assert_eq!(ask(&the_box, "stranger.example"), Err("not_trusted"));
    // the authority speaks for its hosts alone
    let narrow = Box::new(&world, &["beneath.deep.example"]);
    assert_eq!(ask(&narrow, "good.example"), Err("not_trusted"));
    assert_eq!(ask(&narrow, "beneath.deep.example").unwrap()["body"], "good");
    assert!(old.requests().is_empty() && stranger.requests().is_empty());
    assert!(good.requests().iter().all(|request| request.starts_with("GET / HTTP/1.1\r\n")));
    // no server there, and one that speaks no TLS
    assert_eq!(ask(&the_box, "good.example:444"), Err("not_connected"));
    world.serve(WEB, 445, None, |_| ok(b"plain"));
    let spoken = ask(&the_box, "good.example:445");
    assert!(matches!(spoken, Err("not_trusted" | "not_connected")), "{spoken:?}");
}

#[test]
fn a_connection_is_used_again_by_its_agent_for_its_host_with_its_secrets_and_by_nobody_else() {
    let world = World::new();
    world.names(&[("one.example", WEB), ("two.example", WEB)], |_| Vec::new());
    let seen = world.plain(WEB, &["one.example", "two.example"], "same");
    let the_box = Box::new(&world, &["one.example", "two.example"]);
    the_box.secrets.borrow_mut().insert("s".to_owned(), ("first-value".to_owned(), 1));
    let counts = the_box.run(async |shared| {
        let with = json!({ "x-key": "${secret:s}" });
        let mut counts = Vec::new();
        for (agent, url, headers) in [
            ("a", "https://one.example/1", json!({})),
            ("a", "https://one.example/2", json!({})),
            ("b", "https://one.example/3", json!({})),
            ("a", "https://two.example/4", json!({})),
            ("a", "https://one.example/5", with.clone()),
            ("a", "https://one.example/6", with.clone()),
        ] {
            ask(shared, agent, &json!({ "url": url, "headers": headers })).await.unwrap();
            counts.push(seen.connections());
        }
        the_box.secrets.borrow_mut().insert("s".to_owned(), ("second-value".to_owned(), 2));
        ask(shared, "a", &json!({ "url": "https://one.example/7", "headers": with }))
            .await
            .unwrap();
        counts.push(seen.connections());
        // where the name must not lead any more, a connection from before is none
        shared.links.borrow_mut().addresses.push(WEB.parse().unwrap());
        assert_eq!(
            ask(shared, "a", &json!({ "url": "https://one.example/8" })).await,
            Err("address_refused")
        );
        counts
    });
    assert_eq!(counts, [1, 1, 2, 3, 4, 4, 5]);
    let keys = seen.requests().iter().filter(|request| request.contains("first-value")).count();
    assert_eq!((keys, seen.requests().len()), (2, 7));
}

//! What leaves the box, by egress, which alone opens connections for calls. A name is looked up after the decision:
//! which addresses it may lead to is decided with it (docs/decisions/0024), and where it leads elsewhere nothing is
//! sent.

use crate::declaration::{
    Declaration, Example, Failure, Performer, Risk, Shape, Source, Template, does, optional,
    required,
};
use contract::effect::{Field, Kind};

const EGRESS: Performer = Performer::Service("egress");

/// Longest body of a webhook's event, and longest id of one, in bytes.
const WEBHOOK_BODY_BYTES_MAX: usize = 64 << 10;
const WEBHOOK_ID_BYTES_MAX: usize = 128;
/// Longest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

const NOT_RESOLVED: Failure = Failure {
    code: "not_resolved",
    when: "no name server of the box knows an address of the name, or none answers",
    next: "check the name; with network.dns_lookup you see what it leads to",
};
const ADDRESS_REFUSED: Failure = Failure {
    code: "address_refused",
    when: "the name leads to addresses alone that the policy does not let it lead to: the box's own, private ones, a \
           cloud's metadata",
    next: "nothing; an operator can name such an address in a rule",
};
const NOT_CONNECTED: Failure = Failure {
    code: "not_connected",
    when: "no machine answers at the address and port",
    next: "try again later, or check the port",
};
const TIMED_OUT: Failure = Failure {
    code: "timed_out",
    when: "there was no whole answer within 30 seconds",
    next: "try again later, or ask for less",
};

const NOT_TRUSTED: Failure = Failure {
    code: "not_trusted",
    when: "the server does not prove that it is the host: no certificate of a known authority, for another \
           name, out of date",
    next: "nothing; an operator can name a private authority for the host",
};
const BAD_REPLY: Failure = Failure {
    code: "bad_reply",
    when: "what came is no reply of HTTP, or one that can be read in two ways",
    next: "tell the server's owner",
};
const SECRET_REFUSED: Failure = Failure {
    code: "secret_refused",
    when: "there is no secret of this name that is bound to this agent, host, port, method and path, or it is \
           used up, or expired; or the URL is of http",
    next: "check the name and the binding with secrets.list",
};
const VAULT_LOCKED: Failure = Failure {
    code: "vault_locked",
    when: "nobody has unlocked the vault since the box started",
    next: "ask an operator to unlock it",
};

const REQUEST: &[Template] = &[
    does(
        Kind::Connect,
        &[
            (Field::Host, Source::HostOf("url")),
            (Field::Address, Source::AddressOf("url")),
            (Field::Port, Source::PortOf("url")),
            (Field::Method, Source::TextOr("method", "GET")),
            (Field::UrlPath, Source::UrlPathOf("url")),
            (Field::Bytes, Source::LengthOf("body")),
        ],
    ),
    does(
        Kind::Secret,
        &[
            (Field::Name, Source::SecretsOf("headers")),
            (Field::Host, Source::HostOf("url")),
            (Field::Port, Source::PortOf("url")),
            (Field::Method, Source::TextOr("method", "GET")),
            (Field::UrlPath, Source::UrlPathOf("url")),
        ],
    ),
];

pub(crate) static HTTP_REQUEST: Declaration = Declaration {
    name: "network.http_request",
    version: 1,
    purpose: "Makes one request by HTTP and gives the reply. A secret is used by its placeholder, `${secret:NAME}`, \
              in a header's value: it takes its place on the wire alone, where the secret is bound to this host, \
              method and path, and only by https. A redirect is not followed: it is the reply.",
    when: "To read or call a service on the network. To see what a name leads to use network.dns_lookup.",
    parameters: &[
        required("url", Shape::Url, "what is asked for; its path and query are sent as they stand"),
        optional("method", Shape::OneOf(METHODS), "GET without it"),
        optional(
            "headers",
            Shape::Headers,
            "such as {\"accept\": \"application/json\", \"authorization\": \"Bearer ${secret:token}\"}",
        ),
        optional(
            "body",
            Shape::Text { bytes_max: BODY_BYTES_MAX },
            "what is sent; nothing without it",
        ),
        optional("base64", Shape::Flag, "whether `body` is base64, for bytes that are no UTF-8"),
    ],
    answers: &[
        ("status", "of the reply"),
        ("headers", "names in lower case and their values, an array of pairs"),
        ("body", "at most 4 MiB, as text"),
        ("base64", "whether body is base64, for bytes that are no UTF-8"),
        ("address", "the address that was spoken to"),
    ],
    effects: REQUEST,
    performer: EGRESS,
    risk: Risk::R2,
    undo: None,
    failures: &[
        NOT_RESOLVED,
        ADDRESS_REFUSED,
        NOT_CONNECTED,
        TIMED_OUT,
        NOT_TRUSTED,
        BAD_REPLY,
        Failure {
            code: "too_large",
            when: "the reply is longer than 4 MiB, or its headers than 64 KiB",
            next: "ask for a part, with the header `range` or what the service has for it",
        },
        Failure {
            code: "encoded_reply",
            when: "a secret was sent, and the reply is compressed: nobody can see whether the secret is in it",
            next: "ask the service for plain replies",
        },
        SECRET_REFUSED,
        Failure {
            code: "secret_in_reply",
            when: "the reply held a secret that this call was lent, as it is or encoded; it is not given",
            next: "nothing: calls are refused until an operator has looked at it",
        },
        VAULT_LOCKED,
        BAD_BASE64,
    ],
    examples: &[
        Example {
            title: "a page",
            input: "{\"url\":\"https://example.org/\",\"headers\":{\"accept\":\"text/html\"}}",
            ends: "ok",
        },
        Example {
            title: "with a secret",
            input: "{\"url\":\"https://api.example.org/v1/items\",\"method\":\"POST\",\"headers\":{\"authorization\":\"Bearer ${secret:token}\"},\"body\":\"{}\"}",
            ends: "secret_refused",
        },
    ],
};

const BAD_BASE64: Failure = Failure {
    code: "bad_base64",
    when: "`body` is no base64 and `base64` is true",
    next: "encode it (RFC 4648, section 4), or leave `base64` out",
};

const WEBHOOK_EFFECTS: &[Template] = &[
    does(
        Kind::Connect,
        &[
            (Field::Host, Source::HostOf("url")),
            (Field::Address, Source::AddressOf("url")),
            (Field::Port, Source::PortOf("url")),
            (Field::Method, Source::Text("POST")),
            (Field::UrlPath, Source::UrlPathOf("url")),
            (Field::Bytes, Source::LengthOf("body")),
        ],
    ),
    does(
        Kind::Secret,
        &[
            (Field::Name, Source::Parameter("secret")),
            (Field::Host, Source::HostOf("url")),
            (Field::Port, Source::PortOf("url")),
            (Field::Method, Source::Text("POST")),
            (Field::UrlPath, Source::UrlPathOf("url")),
        ],
    ),
];

pub(crate) static WEBHOOK: Declaration = Declaration {
    name: "network.webhook",
    version: 1,
    purpose: "Tells a service that something happened: sends one JSON text by POST, signed with a key that stays in \
              the box (Standard Webhooks: the headers webhook-id, webhook-timestamp and webhook-signature). Nothing of \
              the reply is given but whether it was taken.",
    when: "To notify a service that checks such signatures. For any other request use network.http_request.",
    parameters: &[
        required("url", Shape::Url, "the receiver, by https"),
        required(
            "secret",
            Shape::Text { bytes_max: contract::secret::NAME_BYTES_MAX },
            "the name of the secret of kind webhook that signs",
        ),
        required(
            "id",
            Shape::Text { bytes_max: WEBHOOK_ID_BYTES_MAX },
            "letters, digits, `-` and `_`; the same for the same event, so that its receiver knows one that comes twice",
        ),
        required("body", Shape::Text { bytes_max: WEBHOOK_BODY_BYTES_MAX }, "the JSON text"),
    ],
    answers: &[("status", "of the reply, 200 to 299")],
    effects: WEBHOOK_EFFECTS,
    performer: EGRESS,
    risk: Risk::R2,
    undo: None,
    failures: &[
        NOT_RESOLVED,
        ADDRESS_REFUSED,
        NOT_CONNECTED,
        TIMED_OUT,
        NOT_TRUSTED,
        BAD_REPLY,
        Failure {
            code: "not_taken",
            when: "the receiver answered, and not with a status of 200 to 299",
            next: "look at what the receiver says of the event; send it again with the same id",
        },
        Failure {
            code: "bad_event",
            when: "`id` is no word of letters, digits, `-` and `_`, or `body` is no JSON text",
            next: "correct it",
        },
        SECRET_REFUSED,
        VAULT_LOCKED,
    ],
    examples: &[Example {
        title: "a build is done",
        input: "{\"url\":\"https://hooks.example.org/builds\",\"secret\":\"builds\",\"id\":\"build-17\",\"body\":\"{\\\"type\\\":\\\"build.done\\\"}\"}",
        ends: "secret_refused",
    }],
};

pub(crate) static DNS_LOOKUP: Declaration = Declaration {
    name: "network.dns_lookup",
    version: 1,
    purpose: "Says which addresses a name leads to, by the box's name servers.",
    when: "To see why a request does not arrive. A request looks names up by itself.",
    parameters: &[required("host", Shape::Host, "the name, in ASCII")],
    answers: &[
        ("name", "the name that the addresses stand at, after aliases"),
        ("addresses", "of both families, at most 32"),
    ],
    effects: &[does(Kind::Resolve, &[(Field::Host, Source::HostOf("host"))])],
    performer: EGRESS,
    risk: Risk::R2,
    undo: None,
    failures: &[NOT_RESOLVED, TIMED_OUT],
    examples: &[Example { title: "a name", input: "{\"host\":\"example.org\"}", ends: "ok" }],
};

pub(crate) static TCP_CHECK: Declaration = Declaration {
    name: "network.tcp_check",
    version: 1,
    purpose: "Says whether a machine takes a connection at a port, and how long that took. Nothing is sent.",
    when: "To see whether a service is there before calling it.",
    parameters: &[
        required("host", Shape::Host, "a name or an address"),
        required("port", Shape::Number { max: 65_535 }, "1 to 65535"),
    ],
    answers: &[("address", "that answered"), ("took_us", "microseconds until it did")],
    effects: &[does(
        Kind::Connect,
        &[
            (Field::Host, Source::HostOf("host")),
            (Field::Address, Source::AddressOf("host")),
            (Field::Port, Source::Parameter("port")),
            (Field::Bytes, Source::Number(0)),
        ],
    )],
    performer: EGRESS,
    risk: Risk::R2,
    undo: None,
    failures: &[NOT_RESOLVED, ADDRESS_REFUSED, NOT_CONNECTED, TIMED_OUT],
    examples: &[Example {
        title: "is it there",
        input: "{\"host\":\"example.org\",\"port\":443}",
        ends: "ok",
    }],
};

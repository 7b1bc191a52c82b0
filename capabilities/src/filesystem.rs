//! Files of the agent's own workspace. None of these follows a symbolic link. What is done to a
//! directory with all that is beneath it is in `regions`.

pub mod regions;

use crate::declaration::{
    Class, Declaration, Example, Failure, Parameter, Performer, Risk, Shape, Source, Template,
    does, optional, required,
};
use contract::effect::{Field, Form, Kind};

/// Longest text that one call writes or reads.
const CONTENT_BYTES_MAX: usize = 16 << 20;

const PATH: Parameter = required("path", Shape::Path, "the file, absolute or from the workspace");
const CONTENT: Parameter =
    required("content", Shape::Text { bytes_max: CONTENT_BYTES_MAX }, "the text to write");
const FROM: Parameter = required("from", Shape::Path, "what is there");
const TO: Parameter = required("to", Shape::Path, "where it goes; nothing may be there");
const AT_PATH: (Field, Source) = (Field::Path, Source::Parameter("path"));
const AT_FROM: (Field, Source) = (Field::Path, Source::Parameter("from"));
const AT_TO: (Field, Source) = (Field::Path, Source::Parameter("to"));
const NOTHING: (Field, Source) = (Field::Bytes, Source::Number(0));
const ITS_LENGTH: (Field, Source) = (Field::Bytes, Source::LengthOf("content"));
const ANY_LENGTH: (Field, Source) = (Field::Bytes, Source::Number(16 << 20));

const NOT_FOUND: Failure = Failure {
    code: "not_found",
    when: "nothing is at the path",
    next: "list the directory above it",
};
const EXISTS: Failure = Failure {
    code: "exists",
    when: "something is at the path already",
    next: "choose another path, or delete what is there",
};
const LINK: Failure = Failure {
    code: "link",
    when: "the path goes through a symbolic link, which no file capability follows",
    next: "name the file by its own path",
};
const KIND: Failure = Failure {
    code: "wrong_kind",
    when: "a directory where a file is needed, or the other way round",
    next: "ask filesystem.stat what is there",
};
const TOO_LARGE: Failure = Failure {
    code: "too_large",
    when: "the file is larger than one call reads",
    next: "read it in parts with offset and length",
};
pub(crate) const CHANGED: Failure = Failure {
    code: "changed",
    when: "a person said yes to it, and what is at a path is not what they were shown",
    next: "look what is there, and ask again if it is still wanted",
};
const NO_SPACE: Failure = Failure {
    code: "no_space",
    when: "the disk or the agent's quota is full",
    next: "delete what is not needed, or ask an operator for more",
};

pub(crate) static READ: Declaration = Declaration {
    name: "filesystem.read",
    version: 1,
    purpose: "Reads a file, whole or in part, as text; bytes that are no UTF-8 come as base64.",
    when: "To see a file's content. For its size alone use filesystem.stat.",
    parameters: &[
        PATH,
        optional("offset", Shape::Number { max: 1 << 40 }, "first byte to read; 0 without it"),
        optional("length", Shape::Number { max: 16 << 20 }, "most bytes to read; 1 MiB without it"),
    ],
    answers: &[
        ("content", "the text"),
        ("base64", "whether content is base64"),
        ("size", "of the whole file, in bytes"),
    ],
    effects: &[does(Kind::Read, &[AT_PATH])],
    performer: Performer::Cage(Class::Files),
    risk: Risk::R0,
    undo: None,
    failures: &[NOT_FOUND, LINK, KIND, TOO_LARGE],
    examples: &[
        Example { title: "a file", input: "{\"path\":\"hello.txt\"}", ends: "ok" },
        Example { title: "no file", input: "{\"path\":\"absent.txt\"}", ends: "not_found" },
    ],
};

const BAD_BASE64: Failure = Failure {
    code: "bad_base64",
    when: "the content is said to be base64 and is not",
    next: "encode it as RFC 4648 section 4 says, with padding",
};

pub(crate) static WRITE: Declaration = Declaration {
    name: "filesystem.write",
    version: 1,
    purpose: "Writes a file as a whole: it has the old content or the new, never a part.",
    when: "To make a file or replace its content. To add at its end use filesystem.append.",
    parameters: &[
        PATH,
        CONTENT,
        optional(
            "base64",
            Shape::Flag,
            "whether the content is base64, for bytes that are no text",
        ),
    ],
    answers: &[("bytes", "how many were written")],
    effects: &[does(Kind::Write, &[AT_PATH, ITS_LENGTH]).expecting()],
    performer: Performer::Cage(Class::Files),
    risk: Risk::R1,
    undo: None,
    failures: &[NOT_FOUND, LINK, KIND, NO_SPACE, BAD_BASE64, CHANGED],
    examples: &[Example {
        title: "a new file",
        input: "{\"path\":\"hello.txt\",\"content\":\"hello\\n\"}",
        ends: "ok",
    }],
};

pub(crate) static APPEND: Declaration = Declaration {
    name: "filesystem.append",
    version: 1,
    purpose: "Adds text at the end of a file, making it if it is not there.",
    when: "For logs and notes. To replace content use filesystem.write.",
    parameters: &[PATH, CONTENT],
    answers: &[("size", "of the file afterwards, in bytes")],
    effects: &[does(Kind::Write, &[AT_PATH, ITS_LENGTH])],
    performer: Performer::Cage(Class::Files),
    risk: Risk::R1,
    undo: None,
    failures: &[NOT_FOUND, LINK, KIND, NO_SPACE],
    examples: &[Example {
        title: "one more line",
        input: "{\"path\":\"hello.txt\",\"content\":\"again\\n\"}",
        ends: "ok",
    }],
};

pub(crate) static LIST: Declaration = Declaration {
    name: "filesystem.list",
    version: 1,
    purpose: "Lists a directory: names, kinds and sizes, sorted by name.",
    when: "To see what is there. It does not descend; filesystem.search does.",
    parameters: &[required("path", Shape::Path, "the directory")],
    answers: &[("entries", "name, kind (file, directory, link, other) and size of each")],
    effects: &[Template::new(Kind::Read, Form::Region, &[AT_PATH])],
    performer: Performer::Cage(Class::Files),
    risk: Risk::R0,
    undo: None,
    failures: &[NOT_FOUND, LINK, KIND],
    examples: &[Example { title: "the workspace", input: "{\"path\":\"/workspace\"}", ends: "ok" }],
};

pub(crate) static DIGEST: Declaration = Declaration {
    name: "filesystem.digest",
    version: 1,
    purpose: "Gives the SHA-256 digest over a directory: every name beneath it, what each is, and the \
              content of every file. Where a link is, that one is there; it is not followed.",
    when: "Before process.run_code, which runs only while the workspace is what a person was asked about; \
           or to tell whether anything changed.",
    parameters: &[required("path", Shape::Path, "the directory")],
    answers: &[
        ("digest", "64 hexadecimal digits"),
        ("entries", "how many names there are beneath it"),
        ("bytes", "how long all files are together"),
    ],
    effects: &[Template::new(Kind::Read, Form::Region, &[AT_PATH])],
    performer: Performer::Cage(Class::Files),
    risk: Risk::R0,
    undo: None,
    failures: &[
        NOT_FOUND,
        LINK,
        KIND,
        WRITTEN,
        Failure {
            code: "too_large",
            when: "more than 10,000 names or 256 MiB are beneath it, or more than 16 levels",
            next: "delete what is not needed, or name a directory beneath it",
        },
    ],
    examples: &[Example { title: "the workspace", input: "{\"path\":\"/workspace\"}", ends: "ok" }],
};

const WRITTEN: Failure = Failure {
    code: "changed",
    when: "a file was written while it was read",
    next: "try again when nothing else writes",
};
const TOO_LARGE_TO_DIGEST: Failure = Failure {
    code: "too_large",
    when: "a digest is wanted of a file of more than 256 MiB, or of a directory of more than 10,000 names",
    next: "ask without `digest`",
};

pub(crate) static STAT: Declaration = Declaration {
    name: "filesystem.stat",
    version: 1,
    purpose: "Says what is at a path: kind, size, time of its last change, and if wanted a digest.",
    when: "Before reading or writing something unknown. The digest of a directory with all that is beneath it \
           is filesystem.digest's.",
    parameters: &[
        PATH,
        optional(
            "digest",
            Shape::Flag,
            "whether the content is read too: for `digest` and `names`, which are not there without it",
        ),
    ],
    answers: &[
        ("kind", "file, directory, link or other"),
        ("size", "in bytes"),
        ("changed_us", ""),
        ("digest", "of a file: SHA-256 of its content, 64 hexadecimal digits"),
        ("names", "of a directory: how many names are in it"),
    ],
    effects: &[does(Kind::Read, &[AT_PATH])],
    performer: Performer::Cage(Class::Files),
    risk: Risk::R0,
    undo: None,
    failures: &[NOT_FOUND, LINK, WRITTEN, TOO_LARGE_TO_DIGEST],
    examples: &[
        Example { title: "a file", input: "{\"path\":\"hello.txt\"}", ends: "ok" },
        Example {
            title: "and its digest",
            input: "{\"path\":\"hello.txt\",\"digest\":true}",
            ends: "ok",
        },
    ],
};

pub(crate) static MKDIR: Declaration = Declaration {
    name: "filesystem.mkdir",
    version: 1,
    purpose: "Makes one directory.",
    when: "Before writing into it; the directory above must be there.",
    parameters: &[required("path", Shape::Path, "the new directory")],
    answers: &[],
    effects: &[does(Kind::Write, &[AT_PATH, NOTHING])],
    performer: Performer::Cage(Class::Files),
    risk: Risk::R1,
    undo: Some("filesystem.delete"),
    failures: &[NOT_FOUND, EXISTS, LINK, NO_SPACE],
    examples: &[Example { title: "a directory", input: "{\"path\":\"notes\"}", ends: "ok" }],
};

pub(crate) static MOVE: Declaration = Declaration {
    name: "filesystem.move",
    version: 1,
    purpose: "Gives a file another place. Nothing may be at the new one.",
    when: "To rename or re-order. To keep the old one use filesystem.copy; for a directory use \
           filesystem.move_directory.",
    parameters: &[FROM, TO],
    answers: &[],
    effects: &[
        does(Kind::Read, &[AT_FROM]),
        does(Kind::Delete, &[AT_FROM]).expecting(),
        does(Kind::Write, &[AT_TO, ANY_LENGTH]).expecting(),
    ],
    performer: Performer::Cage(Class::Files),
    risk: Risk::R1,
    undo: Some("filesystem.move, back"),
    failures: &[NOT_FOUND, EXISTS, LINK, KIND, CHANGED],
    examples: &[Example {
        title: "another name",
        input: "{\"from\":\"hello.txt\",\"to\":\"greeting.txt\"}",
        ends: "ok",
    }],
};

pub(crate) static COPY: Declaration = Declaration {
    name: "filesystem.copy",
    version: 1,
    purpose: "Copies one file. Nothing may be at the new place.",
    when: "To keep the old one. Directories are not copied.",
    parameters: &[FROM, TO],
    answers: &[("bytes", "how many were copied")],
    effects: &[
        does(Kind::Read, &[AT_FROM]).expecting(),
        does(Kind::Write, &[AT_TO, ANY_LENGTH]).expecting(),
    ],
    performer: Performer::Cage(Class::Files),
    risk: Risk::R1,
    undo: Some("filesystem.delete"),
    failures: &[NOT_FOUND, EXISTS, LINK, KIND, TOO_LARGE, NO_SPACE, CHANGED],
    examples: &[Example {
        title: "a second one",
        input: "{\"from\":\"hello.txt\",\"to\":\"hello.bak\"}",
        ends: "ok",
    }],
};

pub(crate) static DELETE: Declaration = Declaration {
    name: "filesystem.delete",
    version: 1,
    purpose: "Moves a file or an empty directory into the trash beside the workspace.",
    when: "To be rid of it; restore brings it back by this call's number.",
    parameters: &[PATH],
    answers: &[("call", "the number under which it can be restored")],
    effects: &[does(Kind::Delete, &[AT_PATH]).expecting()],
    performer: Performer::Cage(Class::Files),
    risk: Risk::R1,
    undo: Some("filesystem.restore"),
    failures: &[NOT_FOUND, LINK, KIND, CHANGED],
    examples: &[Example { title: "a file", input: "{\"path\":\"hello.txt\"}", ends: "ok" }],
};

pub(crate) static RESTORE: Declaration = Declaration {
    name: "filesystem.restore",
    version: 1,
    purpose: "Brings back what a call deleted, to the path where it was.",
    when: "After a deletion that was a mistake.",
    parameters: &[
        required("path", Shape::Path, "where it was"),
        required("call", Shape::Call, "the number of the call that deleted it"),
    ],
    answers: &[],
    effects: &[does(Kind::Write, &[AT_PATH, ANY_LENGTH])],
    performer: Performer::Cage(Class::Files),
    risk: Risk::R1,
    undo: Some("filesystem.delete"),
    failures: &[NOT_FOUND, EXISTS, LINK],
    examples: &[Example {
        title: "nothing was deleted by that call",
        input: "{\"path\":\"a\",\"call\":\"00000000000000000000000000000000\"}",
        ends: "not_found",
    }],
};

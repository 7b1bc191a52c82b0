//! What is done to a directory with all that is beneath it: searched, packed, unpacked, moved. Each
//! effect on a directory is a region, decided as its worst point; what is written has a bound that the
//! call may lower, so that the effect says what will be enforced.

use super::{AT_FROM, AT_PATH, CHANGED, EXISTS, KIND, LINK, NO_SPACE, NOT_FOUND};
use crate::declaration::{
    Class, Declaration, Example, Failure, Parameter, Performer, Risk, Shape, Source, Template,
    does, optional, required,
};
use contract::effect::{Field, Form, Kind};

/// How much is written beneath a directory, or into an archive, where the call does not say.
pub const BYTES_DEFAULT: u64 = 16 << 20;
/// Most that a call may ask for.
pub const BYTES_MAX: u64 = 64 << 20;
/// Most that a call may ask for that writes nothing anew.
const MOVED_BYTES_MAX: u64 = 1 << 40;
/// Longest pattern of names, in bytes.
pub const NAME_BYTES_MAX: usize = 127;
/// Longest text that is searched for, in bytes.
pub const TEXT_BYTES_MAX: usize = 1_024;
/// Most matches that a search answers, and how many where the call does not say.
pub const MATCHES_MAX: u64 = 1_000;
/// See [`MATCHES_MAX`].
pub const MATCHES_DEFAULT: u64 = 100;

const fn region(kind: Kind, fields: &'static [(Field, Source)]) -> Template {
    Template::new(kind, Form::Region, fields)
}

const AT_TO: (Field, Source) = (Field::Path, Source::Parameter("to"));
const ITS_BOUND: (Field, Source) = (Field::Bytes, Source::NumberOr("bytes_max", BYTES_DEFAULT));
const BOUND: Parameter = optional(
    "bytes_max",
    Shape::Number { max: BYTES_MAX },
    "the most that may be written, in bytes; 16 MiB without it",
);
const INTO_ITSELF: Failure = Failure {
    code: "into_itself",
    when: "the new place is the directory itself or lies beneath it",
    next: "name a place outside the directory",
};
const TOO_LARGE: Failure = Failure {
    code: "too_large",
    when: "more than 10,000 names, 64 levels or 64 MiB are beneath it, or more would be written than bytes_max",
    next: "name a directory beneath it, delete what is not needed, or give a larger bytes_max",
};

pub(crate) static SEARCH: Declaration = Declaration {
    name: "filesystem.search",
    version: 1,
    purpose: "Finds files and directories beneath a directory by their names, by text in them, or by \
              both; with neither, names everything. Links are named and not followed.",
    when: "To find where something is. For regular expressions run grep on the files found; to see one \
           directory alone use filesystem.list.",
    parameters: &[
        required("path", Shape::Path, "the directory"),
        optional(
            "name",
            Shape::Text { bytes_max: NAME_BYTES_MAX },
            "a pattern: `*` is any characters but a slash, `**` any; one with a slash is of the whole path \
             beneath the directory, one without of the name",
        ),
        optional(
            "text",
            Shape::Text { bytes_max: TEXT_BYTES_MAX },
            "what must be in a file, as it is: no pattern",
        ),
        optional("ignore_case", Shape::Flag, "whether A is a, of ASCII letters, in both"),
        optional("limit", Shape::Number { max: MATCHES_MAX }, "most matches; 100 without it"),
    ],
    answers: &[
        (
            "matches",
            "path, kind (file, directory, link, other) and size of each; of a file that holds the text its \
             `lines`, each with number, text and whether it was cut to 400 bytes around the match, or \
             `binary`, since it is no text. In the order of names, a directory before what is in it",
        ),
        ("visited", "how many names were looked at"),
        ("complete", "whether everything was looked at"),
        (
            "missed",
            "if not, why: `matches` (there are more), `names` (more than 50,000; what comes after is not looked \
             at), `levels` (deeper than 64), `large` (a file of more than 16 MiB), `bytes` (more than 64 MiB of \
             files; what comes after is not looked at), `unreadable`",
        ),
    ],
    effects: &[region(Kind::Read, &[AT_PATH])],
    performer: Performer::Cage(Class::Files),
    risk: Risk::R0,
    undo: None,
    failures: &[
        NOT_FOUND,
        LINK,
        KIND,
        Failure {
            code: "bad_pattern",
            when: "the name or the text is there and empty",
            next: "leave it out, or say what to look for",
        },
    ],
    examples: &[
        Example {
            title: "by name",
            input: "{\"path\":\"/workspace\",\"name\":\"*.txt\"}",
            ends: "ok",
        },
        Example {
            title: "by text",
            input: "{\"path\":\"/workspace\",\"text\":\"hello\",\"limit\":10}",
            ends: "ok",
        },
        Example {
            title: "no directory",
            input: "{\"path\":\"absent\",\"name\":\"*\"}",
            ends: "not_found",
        },
    ],
};

pub(crate) static ARCHIVE: Declaration = Declaration {
    name: "filesystem.archive",
    version: 1,
    purpose: "Packs a directory with all that is beneath it into one tar file, plain or compressed by gzip. \
              Nothing may be at its place. Names are beneath the directory; links, devices and the new file \
              itself are left out.",
    when: "To keep or hand on a directory as one file. filesystem.extract unpacks it.",
    parameters: &[
        required("from", Shape::Path, "the directory"),
        required("to", Shape::Path, "the new file; nothing may be there"),
        optional("format", Shape::OneOf(&["tar", "tar.gz"]), "tar without it"),
        BOUND,
    ],
    answers: &[
        ("bytes", "how long the archive is"),
        ("entries", "how many files and directories it holds"),
        ("left_out", "paths of what is no file and no directory"),
    ],
    effects: &[region(Kind::Read, &[AT_FROM]), does(Kind::Write, &[AT_TO, ITS_BOUND]).expecting()],
    performer: Performer::Cage(Class::Files),
    risk: Risk::R1,
    undo: Some("filesystem.delete"),
    failures: &[
        NOT_FOUND,
        EXISTS,
        LINK,
        KIND,
        TOO_LARGE,
        Failure {
            code: "changed",
            when: "a file was written while it was packed, or something is at the new place that was not there \
                   when a person was asked",
            next: "try again when nothing else writes",
        },
        NO_SPACE,
    ],
    examples: &[
        Example {
            title: "a directory",
            input: "{\"from\":\"notes\",\"to\":\"notes.tar.gz\",\"format\":\"tar.gz\"}",
            ends: "ok",
        },
        Example {
            title: "no directory",
            input: "{\"from\":\"absent\",\"to\":\"absent.tar\"}",
            ends: "not_found",
        },
    ],
};

pub(crate) static EXTRACT: Declaration = Declaration {
    name: "filesystem.extract",
    version: 1,
    purpose: "Unpacks a tar file, plain or compressed by gzip, into an empty directory. The whole archive is \
              read and judged before anything is written; what fails later is removed again. Of what a file \
              was only whether it could be executed is kept.",
    when: "After filesystem.archive, or for an archive of files and directories that came from elsewhere.",
    parameters: &[
        required("from", Shape::Path, "the archive"),
        required("to", Shape::Path, "the directory, which must be there and be empty"),
        BOUND,
    ],
    answers: &[
        ("files", "how many files were made"),
        ("directories", "how many directories"),
        ("bytes", "how long the files are together"),
    ],
    effects: &[
        does(Kind::Read, &[AT_FROM]).expecting(),
        // whether it is empty
        does(Kind::Read, &[AT_TO]).expecting(),
        region(Kind::Write, &[AT_TO, ITS_BOUND]),
    ],
    performer: Performer::Cage(Class::Files),
    risk: Risk::R1,
    undo: None,
    failures: &[
        Failure {
            code: "not_found",
            when: "the archive or the directory is not there",
            next: "make the directory with filesystem.mkdir; list the one above the archive",
        },
        LINK,
        KIND,
        Failure {
            code: "not_empty",
            when: "something is in the directory",
            next: "make another with filesystem.mkdir",
        },
        Failure {
            code: "damaged",
            when: "it is no tar file, or one whose checksums or lengths do not fit, or it was written meanwhile",
            next: "get the archive again from where it came from",
        },
        Failure {
            code: "bad_name",
            when: "a name in it is absolute, goes through `..`, is too long, or is none",
            next: "pack it again with names beneath one directory",
        },
        Failure {
            code: "unsupported",
            when: "it holds a link, a device or another kind than files and directories, or a file with holes",
            next: "pack it again with files and directories alone",
        },
        Failure {
            code: "twice",
            when: "two entries in it have one name, or a file is where a directory must be",
            next: "pack it again with each name once",
        },
        Failure {
            code: "too_large",
            when: "it holds more than 10,000 names or 64 levels, or its files are longer than bytes_max",
            next: "give a larger bytes_max, or pack it in parts",
        },
        CHANGED,
        NO_SPACE,
    ],
    examples: &[
        Example {
            title: "into a directory that is full",
            input: "{\"from\":\"notes.tar.gz\",\"to\":\"notes\"}",
            ends: "not_empty",
        },
        Example {
            title: "what is no archive",
            input: "{\"from\":\"notes/hello.txt\",\"to\":\"empty\"}",
            ends: "damaged",
        },
        Example {
            title: "an archive",
            input: "{\"from\":\"notes.tar.gz\",\"to\":\"empty\",\"bytes_max\":1048576}",
            ends: "ok",
        },
    ],
};

pub(crate) static MOVE_DIRECTORY: Declaration = Declaration {
    name: "filesystem.move_directory",
    version: 1,
    purpose: "Gives a directory another place, with all that is beneath it. Nothing may be at the new one. \
              Links in it go along as they are.",
    when: "To rename or re-order. For one file use filesystem.move.",
    parameters: &[
        required("from", Shape::Path, "the directory"),
        required("to", Shape::Path, "where it goes; nothing may be there"),
        optional(
            "bytes_max",
            Shape::Number { max: MOVED_BYTES_MAX },
            "how long its files may be together, in bytes; 16 MiB without it",
        ),
    ],
    answers: &[
        ("entries", "how many names are beneath it"),
        ("bytes", "how long its files are together"),
    ],
    effects: &[
        region(Kind::Read, &[AT_FROM]),
        region(Kind::Delete, &[AT_FROM]).expecting(),
        region(Kind::Write, &[AT_TO, ITS_BOUND]),
    ],
    performer: Performer::Cage(Class::Files),
    risk: Risk::R1,
    undo: Some("filesystem.move_directory, back"),
    failures: &[
        NOT_FOUND,
        EXISTS,
        LINK,
        KIND,
        INTO_ITSELF,
        CHANGED,
        Failure {
            code: "too_large",
            when: "more than 50,000 names or 64 levels are beneath it, or its files are longer than bytes_max",
            next: "give a larger bytes_max, or move what is beneath it in parts",
        },
    ],
    examples: &[
        Example {
            title: "into itself",
            input: "{\"from\":\"notes\",\"to\":\"notes/old\"}",
            ends: "into_itself",
        },
        Example {
            title: "another name",
            input: "{\"from\":\"notes\",\"to\":\"old-notes\"}",
            ends: "ok",
        },
    ],
};

//! Repositories of git in the agent's own workspace, read and written by the worker itself: no program
//! of git's runs, and nothing that a repository's configuration names.

use crate::declaration::{
    Class, Declaration, Example, Failure, Parameter, Performer, Risk, Shape, Source, Template,
    optional, required,
};
use contract::effect::{Field, Form, Kind};

/// Longest message of a commit, and longest name of anything else.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
const NAME_BYTES_MAX: usize = 250;
/// Longest file that a call makes in a repository.
const FILE_BYTES_MAX: u64 = 16 << 20;

const fn text(name: &'static str, meaning: &'static str) -> Parameter {
    optional(name, Shape::Text { bytes_max: NAME_BYTES_MAX }, meaning)
}

const PATH: Parameter =
    required("path", Shape::Path, "the directory that holds the files and their `.git`");
const REVISION: Parameter = text(
    "revision",
    "HEAD, a branch, a tag or a commit, with `~2` or `^2` behind it if wanted; HEAD without it",
);
const ITS_GIT: (Field, Source) = (Field::Path, Source::Within("path", ".git"));
const ANY_LENGTH: (Field, Source) = (Field::Bytes, Source::Number(FILE_BYTES_MAX));

/// The files and the history.
const READS_ALL: Template =
    Template::new(Kind::Read, Form::Region, &[(Field::Path, Source::Parameter("path"))]);
/// The history.
const READS_GIT: Template = Template::new(Kind::Read, Form::Region, &[ITS_GIT]);
const WRITES_GIT: Template = Template::new(Kind::Write, Form::Region, &[ITS_GIT, ANY_LENGTH]);

const NO_REPOSITORY: Failure = Failure {
    code: "no_repository",
    when: "there is no `.git` directory with a repository at the path",
    next: "name the directory above the files, or call git.init",
};
const NOT_FOUND: Failure = Failure {
    code: "not_found",
    when: "nothing is at the path",
    next: "list the directory above it",
};
const LINK: Failure = Failure {
    code: "link",
    when: "the path, or something in `.git`, is a symbolic link, which is never followed",
    next: "name the directory by its own path; make the link a directory",
};
const KIND: Failure = Failure {
    code: "wrong_kind",
    when: "a directory where a file is needed, or the other way round",
    next: "ask filesystem.stat what is there",
};
const UNSUPPORTED: Failure = Failure {
    code: "unsupported",
    when: "the repository is kept in a form that is not read here: `.git` is a file, names of objects \
           are SHA-256, refs are in a table, or its index is split or sparse",
    next: "keep it in git's usual form",
};
const DAMAGED: Failure = Failure {
    code: "damaged",
    when: "something in `.git` is not what it says that it is",
    next: "take the repository from where it came from again",
};
const MISSING: Failure = Failure {
    code: "missing",
    when: "an object is not here, as in a partial clone or behind alternates",
    next: "have the repository with all of its objects",
};
const TOO_LARGE: Failure = Failure {
    code: "too_large",
    when: "an object is longer than 16 MiB (a file that is shown: 4 MiB), or there are more than 50,000 files, 10,000 names to list, \
           256 packs or 64 levels",
    next: "leave out by a `.gitignore` what need not be there; ask for less",
};
const UNKNOWN_REVISION: Failure = Failure {
    code: "unknown_revision",
    when: "no commit has the name",
    next: "call git.branch_list or git.log",
};
const AMBIGUOUS: Failure = Failure {
    code: "ambiguous",
    when: "more than one object begins with these digits",
    next: "give more digits",
};
const LOCKED: Failure = Failure {
    code: "locked",
    when: "another call writes the same, or one was ended before it could say that it is done",
    next: "try again; when nothing else writes, delete the file in `.git` whose name ends with `.lock`",
};
const NO_SPACE: Failure = Failure {
    code: "no_space",
    when: "the disk or the agent's quota is full",
    next: "delete what is not needed, or ask an operator for more",
};

const PATCH_ANSWERS: [(&str, &str); 3] = [
    (
        "files",
        "path, change, lines added and removed of each, and `binary`: it is no text, or has more than \
         50,000 lines or 4 MiB",
    ),
    ("patch", "the differences as text, of at most 1 MiB"),
    (
        "truncated",
        "whether the patch lacks files for which there was no room; their lines are not counted",
    ),
];

pub(crate) static INIT: Declaration = Declaration {
    name: "git.init",
    version: 1,
    purpose: "Makes an empty repository in a directory, on the branch main.",
    when: "Before the first git.add. The directory must be there.",
    parameters: &[PATH],
    answers: &[("branch", "main")],
    effects: &[
        // the directory itself is a name in the one above
        Template::new(Kind::Write, Form::Exact, &[ITS_GIT, (Field::Bytes, Source::Number(0))]),
        WRITES_GIT,
    ],
    performer: Performer::Cage(Class::Files),
    risk: Risk::R1,
    undo: None,
    failures: &[
        NOT_FOUND,
        LINK,
        KIND,
        Failure {
            code: "exists",
            when: "something named `.git` is there",
            next: "use the repository that is there",
        },
        NO_SPACE,
    ],
    examples: &[Example { title: "the workspace", input: "{\"path\":\"/workspace\"}", ends: "ok" }],
};

pub(crate) static STATUS: Declaration = Declaration {
    name: "git.status",
    version: 1,
    purpose: "Says what differs between the last commit, what the next one will hold, and the files as \
              they are; content is compared byte for byte, without filters.",
    when: "Before git.add and git.commit. For the differences themselves use git.diff.",
    parameters: &[PATH],
    answers: &[
        ("branch", "the one that HEAD is on, or null"),
        ("commit", "the last one, or null"),
        ("staged", "path and change (added, modified, deleted) of what the next commit changes"),
        ("unstaged", "path and change (modified, deleted, kind) of what git.add would take in"),
        ("untracked", "files that are not in the repository; a directory ends with a slash"),
        ("conflicted", "paths of a merge that is not finished"),
    ],
    effects: &[READS_ALL],
    performer: Performer::Cage(Class::Files),
    risk: Risk::R0,
    undo: None,
    failures: &[NO_REPOSITORY, NOT_FOUND, LINK, KIND, UNSUPPORTED, DAMAGED, MISSING, TOO_LARGE],
    examples: &[Example {
        title: "no repository",
        input: "{\"path\":\"/workspace\"}",
        ends: "no_repository",
    }],
};

pub(crate) static LOG: Declaration = Declaration {
    name: "git.log",
    version: 1,
    purpose: "Lists commits, newest first, from one on through all that it grew out of.",
    when: "To see what was done when and by whom. For what a commit changed use git.show.",
    parameters: &[
        PATH,
        REVISION,
        optional("limit", Shape::Number { max: 500 }, "most commits; 20 without it"),
    ],
    answers: &[
        ("commits", "id, parents, author, email, time (seconds since 1970), subject of each"),
        ("more", "whether there are older ones"),
        ("incomplete", "whether some older ones are not here, as in a shallow clone"),
    ],
    effects: &[READS_GIT],
    performer: Performer::Cage(Class::Files),
    risk: Risk::R0,
    undo: None,
    failures: &[
        NO_REPOSITORY,
        NOT_FOUND,
        LINK,
        KIND,
        UNSUPPORTED,
        DAMAGED,
        MISSING,
        TOO_LARGE,
        UNKNOWN_REVISION,
        AMBIGUOUS,
    ],
    examples: &[Example {
        title: "no repository",
        input: "{\"path\":\"/workspace\",\"limit\":5}",
        ends: "no_repository",
    }],
};

pub(crate) static SHOW: Declaration = Declaration {
    name: "git.show",
    version: 1,
    purpose: "Shows a commit with what it changed against its first parent, or a file as a commit has it.",
    when: "To see what a commit did, or what a file was.",
    parameters: &[
        PATH,
        REVISION,
        optional(
            "file",
            Shape::Text { bytes_max: 4_095 },
            "a file of that commit, from the top of the repository, as `src/main.rs`",
        ),
    ],
    answers: &[
        ("id, parents, author, email, time, message", "of the commit"),
        PATCH_ANSWERS[0],
        PATCH_ANSWERS[1],
        PATCH_ANSWERS[2],
        ("content, base64, size", "of the file, where one was asked for, and then nothing else"),
    ],
    effects: &[READS_GIT],
    performer: Performer::Cage(Class::Files),
    risk: Risk::R0,
    undo: None,
    failures: &[
        NO_REPOSITORY,
        NOT_FOUND,
        LINK,
        KIND,
        UNSUPPORTED,
        DAMAGED,
        MISSING,
        TOO_LARGE,
        UNKNOWN_REVISION,
        AMBIGUOUS,
    ],
    examples: &[Example {
        title: "no repository",
        input: "{\"path\":\"/workspace\",\"revision\":\"HEAD~1\"}",
        ends: "no_repository",
    }],
};

pub(crate) static DIFF: Declaration = Declaration {
    name: "git.diff",
    version: 1,
    purpose: "Shows the differences between the files as they are and what was taken in; or, with \
              `staged`, between that and the last commit; or, with `from` and `to`, between two commits.",
    when: "Before git.add or git.commit. For one commit git.show needs less: it does not read the files.",
    parameters: &[
        PATH,
        optional(
            "staged",
            Shape::Flag,
            "whether what was taken in is compared with the last commit",
        ),
        text("from", "a commit, as for git.show; only with `to`"),
        text("to", "another, with which it is compared"),
    ],
    answers: &PATCH_ANSWERS,
    effects: &[READS_ALL],
    performer: Performer::Cage(Class::Files),
    risk: Risk::R0,
    undo: None,
    failures: &[
        NO_REPOSITORY,
        NOT_FOUND,
        LINK,
        KIND,
        UNSUPPORTED,
        DAMAGED,
        MISSING,
        TOO_LARGE,
        UNKNOWN_REVISION,
        AMBIGUOUS,
        Failure {
            code: "contradiction",
            when: "`from` without `to`, or the other way round, or either with `staged`",
            next: "give both or neither",
        },
    ],
    examples: &[Example {
        title: "one commit is not enough",
        input: "{\"path\":\"/workspace\",\"from\":\"HEAD\"}",
        ends: "contradiction",
    }],
};

pub(crate) static BRANCH_LIST: Declaration = Declaration {
    name: "git.branch_list",
    version: 1,
    purpose: "Lists the branches and the commit of each.",
    when: "To see which there are and which one is current.",
    parameters: &[PATH],
    answers: &[
        ("branches", "name and commit of each, sorted by name"),
        ("current", "the one that HEAD is on, or null"),
    ],
    effects: &[READS_GIT],
    performer: Performer::Cage(Class::Files),
    risk: Risk::R0,
    undo: None,
    failures: &[NO_REPOSITORY, NOT_FOUND, LINK, KIND, UNSUPPORTED, DAMAGED, TOO_LARGE],
    examples: &[Example {
        title: "no repository",
        input: "{\"path\":\"/workspace\"}",
        ends: "no_repository",
    }],
};

pub(crate) static BRANCH_CREATE: Declaration = Declaration {
    name: "git.branch_create",
    version: 1,
    purpose: "Makes a branch at a commit. The current one stays what it is.",
    when: "To keep a commit by a name.",
    parameters: &[
        PATH,
        required("name", Shape::Text { bytes_max: 200 }, "of the new branch, as `feature/one`"),
        text("at", "a commit, as for git.show; HEAD without it"),
    ],
    answers: &[("commit", "the one that it is at")],
    effects: &[READS_GIT, WRITES_GIT],
    performer: Performer::Cage(Class::Files),
    risk: Risk::R1,
    undo: None,
    failures: &[
        NO_REPOSITORY,
        NOT_FOUND,
        LINK,
        KIND,
        UNSUPPORTED,
        DAMAGED,
        MISSING,
        TOO_LARGE,
        UNKNOWN_REVISION,
        AMBIGUOUS,
        Failure {
            code: "exists",
            when: "a branch has the name, or one that begins like a directory of it",
            next: "choose another name",
        },
        Failure {
            code: "bad_name",
            when: "no branch may have the name",
            next: "use letters, digits, `-`, `_` and single slashes",
        },
        LOCKED,
        NO_SPACE,
    ],
    examples: &[Example {
        title: "no repository",
        input: "{\"path\":\"/workspace\",\"name\":\"feature/one\"}",
        ends: "no_repository",
    }],
};

pub(crate) static ADD: Declaration = Declaration {
    name: "git.add",
    version: 1,
    purpose: "Takes files as they are into what the next commit will hold, those that are gone too; what \
              `.gitignore` leaves out is left out, links and repositories in the repository are skipped.",
    when: "Before git.commit.",
    parameters: &[
        PATH,
        optional(
            "file",
            Shape::Path,
            "a file or directory of the repository, absolute or from the workspace; all without it",
        ),
    ],
    answers: &[
        ("added", "files that were taken in"),
        ("removed", "files that were taken out, since they are gone"),
        ("skipped", "links, and repositories in the repository"),
    ],
    effects: &[READS_ALL, WRITES_GIT],
    performer: Performer::Cage(Class::Files),
    risk: Risk::R1,
    undo: None,
    failures: &[
        NO_REPOSITORY,
        NOT_FOUND,
        LINK,
        KIND,
        UNSUPPORTED,
        DAMAGED,
        TOO_LARGE,
        Failure {
            code: "ignored",
            when: "`.gitignore` or `.git/info/exclude` leaves the file out",
            next: "change the pattern, or leave the file where it is",
        },
        Failure {
            code: "outside",
            when: "the file is not beneath the repository's directory",
            next: "name the repository that it is in",
        },
        LOCKED,
        NO_SPACE,
    ],
    examples: &[Example {
        title: "no repository",
        input: "{\"path\":\"/workspace\"}",
        ends: "no_repository",
    }],
};

pub(crate) static COMMIT: Declaration = Declaration {
    name: "git.commit",
    version: 1,
    purpose: "Makes a commit of what git.add took in, on the current branch. No hook runs and nothing is \
              signed.",
    when: "After git.add.",
    parameters: &[
        PATH,
        required("message", Shape::Text { bytes_max: MESSAGE_BYTES_MAX }, "what was done, and why"),
        text("author", "the author's name; `agent` without it"),
        text("email", "the author's address; `agent@box` without it"),
    ],
    answers: &[
        ("id", "of the commit"),
        ("branch", "the one that has it now, or null"),
        ("files", "how many it changes"),
    ],
    effects: &[READS_GIT, WRITES_GIT],
    performer: Performer::Cage(Class::Files),
    risk: Risk::R1,
    undo: None,
    failures: &[
        NO_REPOSITORY,
        NOT_FOUND,
        LINK,
        KIND,
        UNSUPPORTED,
        DAMAGED,
        MISSING,
        TOO_LARGE,
        Failure {
            code: "nothing_to_commit",
            when: "what was taken in is what the last commit holds",
            next: "call git.add first",
        },
        Failure {
            code: "unfinished",
            when: "a merge or the like is under way",
            next: "finish it where it was begun",
        },
        Failure { code: "no_message", when: "the message says nothing", next: "say what was done" },
        Failure {
            code: "bad_author",
            when: "name or address is empty, or holds `<`, `>` or a control character",
            next: "give a plain name and address",
        },
        LOCKED,
        NO_SPACE,
    ],
    examples: &[Example {
        title: "no repository",
        input: "{\"path\":\"/workspace\",\"message\":\"begin\"}",
        ends: "no_repository",
    }],
};

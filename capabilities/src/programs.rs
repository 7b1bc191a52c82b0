//! The programs of the toolbox. Of a closed one, an option that runs another program, reads a file that
//! is not named in the command, or writes where the command does not say, is not here.

use crate::program::{Flag, Program, Takes};

/// Every open one: it runs what the workspace holds. What follows its script is the script's.
pub const OPEN: &[&Program] = &[&PYTHON3];

/// Every closed one, sorted by name; the toolbox has a folder for each (image/toolbox.toml).
pub const PROGRAMS: &[&Program] = &[
    &BASE64, &COMM, &CUT, &DIFF, &GREP, &HEAD, &JOIN, &JQ, &PASTE, &SHA256SUM, &SORT, &TAIL, &TR,
    &UNIQ, &WC,
];

const FILES_MAX: usize = 16;
const FILES: Option<(Takes, usize)> = Some((Takes::Read, FILES_MAX));
const ONE_FILE: Option<(Takes, usize)> = Some((Takes::Read, 1));
const TWO_FILES: &[Takes] = &[Takes::Read, Takes::Read];

const fn flag(names: &'static [&'static str], meaning: &'static str) -> Flag {
    Flag { names, takes: None, meaning }
}

const fn with(names: &'static [&'static str], takes: Takes, meaning: &'static str) -> Flag {
    Flag { names, takes: Some(takes), meaning }
}

static PYTHON3: Program = Program {
    name: "python3",
    purpose: "runs a script in Python, with the standard library",
    options: &[
        flag(&["-I"], "isolated: no module is looked for beside the script"),
        flag(&["-O"], "without assertions"),
    ],
    operands: &[Takes::Read],
    more: Some((Takes::Text, 32)),
};

static BASE64: Program = Program {
    name: "base64",
    purpose: "encodes or decodes base64",
    options: &[
        flag(&["-d", "--decode"], "decode"),
        flag(&["-i", "--ignore-garbage"], "skip what is no base64"),
        with(&["-w", "--wrap"], Takes::Number, "characters in a line; 0 for one line"),
    ],
    operands: &[],
    more: ONE_FILE,
};

static COMM: Program = Program {
    name: "comm",
    purpose: "compares two sorted files line by line",
    options: &[
        flag(&["-1"], "without lines of the first alone"),
        flag(&["-2"], "without lines of the second alone"),
        flag(&["-3"], "without lines of both"),
    ],
    operands: TWO_FILES,
    more: None,
};

static CUT: Program = Program {
    name: "cut",
    purpose: "takes fields, characters or bytes out of lines",
    options: &[
        with(&["-f", "--fields"], Takes::Text, "which fields, as 1,3-5"),
        with(&["-c", "--characters"], Takes::Text, "which characters"),
        with(&["-b", "--bytes"], Takes::Text, "which bytes"),
        with(&["-d", "--delimiter"], Takes::Text, "what separates fields"),
        flag(&["-s", "--only-delimited"], "no lines without it"),
        flag(&["--complement"], "all but these"),
    ],
    operands: &[],
    more: FILES,
};

static DIFF: Program = Program {
    name: "diff",
    purpose: "says how two files differ; exit code 1 where they do",
    options: &[
        flag(&["-u", "--unified"], "three lines around each difference"),
        with(&["-U"], Takes::Number, "so many lines around each"),
        flag(&["-q", "--brief"], "only whether"),
        flag(&["-i", "--ignore-case"], "upper and lower case are the same"),
        flag(&["-w", "--ignore-all-space"], "white space does not count"),
        flag(&["-B", "--ignore-blank-lines"], "blank lines do not count"),
        flag(&["-a", "--text"], "take all for text"),
    ],
    operands: TWO_FILES,
    more: None,
};

static GREP: Program = Program {
    name: "grep",
    purpose: "finds lines that a pattern fits; exit code 1 where there is none",
    options: &[
        flag(&["-E", "--extended-regexp"], "an extended expression"),
        flag(&["-F", "--fixed-strings"], "plain text"),
        flag(&["-i", "--ignore-case"], "upper and lower case are the same"),
        flag(&["-v", "--invert-match"], "lines that it does not fit"),
        flag(&["-n", "--line-number"], "with the number of the line"),
        flag(&["-c", "--count"], "only how many"),
        flag(&["-l", "--files-with-matches"], "only the files' names"),
        flag(&["-h", "--no-filename"], "without the files' names"),
        flag(&["-o", "--only-matching"], "only what fits"),
        flag(&["-w", "--word-regexp"], "whole words"),
        flag(&["-x", "--line-regexp"], "whole lines"),
        flag(&["-a", "--text"], "take all for text"),
        with(&["-m", "--max-count"], Takes::Number, "stop after so many"),
        with(&["-A", "--after-context"], Takes::Number, "lines after each"),
        with(&["-B", "--before-context"], Takes::Number, "lines before each"),
        with(&["-C", "--context"], Takes::Number, "lines around each"),
    ],
    operands: &[Takes::Text],
    more: FILES,
};

static HEAD: Program = Program {
    name: "head",
    purpose: "the first lines of files",
    options: &[
        with(&["-n", "--lines"], Takes::Number, "how many lines; 10 without it"),
        with(&["-c", "--bytes"], Takes::Number, "how many bytes"),
    ],
    operands: &[],
    more: FILES,
};

static JOIN: Program = Program {
    name: "join",
    purpose: "joins lines of two sorted files by a field",
    options: &[
        with(&["-1"], Takes::Number, "the field of the first file"),
        with(&["-2"], Takes::Number, "the field of the second file"),
        with(&["-a"], Takes::Number, "also what this file has alone"),
        with(&["-t"], Takes::Text, "what separates fields"),
        with(&["-e"], Takes::Text, "what stands for an empty field"),
        with(&["-o"], Takes::Text, "which fields, as 1.1,2.2"),
        flag(&["-i", "--ignore-case"], "upper and lower case are the same"),
    ],
    operands: TWO_FILES,
    more: None,
};

static JQ: Program = Program {
    name: "jq",
    purpose: "asks, filters and changes JSON",
    options: &[
        flag(&["-r", "--raw-output"], "texts as they are, without quotes"),
        flag(&["-j", "--join-output"], "the same, without line ends"),
        flag(&["-c", "--compact-output"], "each value on a line"),
        flag(&["-s", "--slurp"], "all inputs as one array"),
        flag(&["-n", "--null-input"], "no input"),
        flag(&["-e", "--exit-status"], "exit code 1 for false and null"),
        flag(&["-R", "--raw-input"], "lines as texts"),
        flag(&["-S", "--sort-keys"], "keys in order"),
        flag(&["-a", "--ascii-output"], "nothing but ASCII"),
    ],
    operands: &[Takes::Text],
    more: FILES,
};

static PASTE: Program = Program {
    name: "paste",
    purpose: "puts lines of files side by side",
    options: &[
        with(&["-d", "--delimiters"], Takes::Text, "what to put between"),
        flag(&["-s", "--serial"], "one file after the other"),
    ],
    operands: &[],
    more: FILES,
};

static SHA256SUM: Program = Program {
    name: "sha256sum",
    purpose: "SHA-256 of files",
    options: &[flag(&["-b", "--binary"], "mark them as binary")],
    operands: &[],
    more: FILES,
};

static SORT: Program = Program {
    name: "sort",
    purpose: "sorts lines",
    options: &[
        flag(&["-r", "--reverse"], "the other way round"),
        flag(&["-n", "--numeric-sort"], "by number"),
        flag(&["-h", "--human-numeric-sort"], "by number with a unit, as 2K"),
        flag(&["-g", "--general-numeric-sort"], "by number, as 1e3"),
        flag(&["-V", "--version-sort"], "by version"),
        flag(&["-f", "--ignore-case"], "upper and lower case are the same"),
        flag(&["-b", "--ignore-leading-blanks"], "without leading blanks"),
        flag(&["-u", "--unique"], "each line once"),
        flag(&["-s", "--stable"], "equal lines as they came"),
        flag(&["-c", "--check"], "only whether it is sorted"),
        with(&["-k", "--key"], Takes::Text, "by these fields, as 2,2n"),
        with(&["-t", "--field-separator"], Takes::Text, "what separates fields"),
        with(&["-o", "--output"], Takes::Write, "where to"),
    ],
    operands: &[],
    more: FILES,
};

static TAIL: Program = Program {
    name: "tail",
    purpose: "the last lines of files",
    options: &[
        with(&["-n", "--lines"], Takes::Number, "how many lines; 10 without it"),
        with(&["-c", "--bytes"], Takes::Number, "how many bytes"),
    ],
    operands: &[],
    more: FILES,
};

static TR: Program = Program {
    name: "tr",
    purpose: "replaces or removes characters of its input",
    options: &[
        flag(&["-d", "--delete"], "remove them"),
        flag(&["-s", "--squeeze-repeats"], "one for several of the same"),
        flag(&["-c", "--complement"], "all but these"),
    ],
    operands: &[Takes::Text],
    more: Some((Takes::Text, 1)),
};

static UNIQ: Program = Program {
    name: "uniq",
    purpose: "leaves out lines that are like the one before",
    options: &[
        flag(&["-c", "--count"], "with how often"),
        flag(&["-d", "--repeated"], "only repeated ones"),
        flag(&["-u", "--unique"], "only those that are not"),
        flag(&["-i", "--ignore-case"], "upper and lower case are the same"),
        with(&["-f", "--skip-fields"], Takes::Number, "without the first fields"),
    ],
    operands: &[],
    more: ONE_FILE,
};

static WC: Program = Program {
    name: "wc",
    purpose: "counts lines, words and bytes",
    options: &[
        flag(&["-l", "--lines"], "lines"),
        flag(&["-w", "--words"], "words"),
        flag(&["-c", "--bytes"], "bytes"),
        flag(&["-m", "--chars"], "characters"),
    ],
    operands: &[],
    more: FILES,
};

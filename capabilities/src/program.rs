//! Programs of the toolbox, and the grammar of their arguments. What a call gives is taken apart by the
//! grammar and put together again in one form: options first, then `--`, then operands, paths absolute.
//! What was decided is thus what the program sees, and no operand can become an option.

use contract::path::CanonicalPath;
use serde_json::Value as Json;

/// Most words of a command, longest of one, and of all together, in bytes: they travel in one frame.
const WORDS_MAX: usize = 64;
const WORD_BYTES_MAX: usize = 4_096;
const COMMAND_BYTES_MAX: usize = 16_384;

/// A closed program: it runs no code of the workspace, and its arguments say which files it touches.
#[derive(Debug)]
pub struct Program {
    /// Its name, and that of its folder in the toolbox.
    pub name: &'static str,
    /// What it does, in a line.
    pub purpose: &'static str,
    /// What it takes before its operands.
    pub options: &'static [Flag],
    /// The operands that it must have, in order.
    pub operands: &'static [Takes],
    /// Further operands, and how many at most.
    pub more: Option<(Takes, usize)>,
}

/// An option.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Its spellings; the first is the one that is used.
    pub names: &'static [&'static str],
    /// The word that follows it, if one does.
    pub takes: Option<Takes>,
    /// What it does.
    pub meaning: &'static str,
}

/// What a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Text that is not a file's name.
    Text,
    /// A whole number.
    Number,
    /// A file that is read.
    Read,
    /// A file that is written, as a whole.
    Write,
}

/// A command that a program's grammar admits. It can be made in no other way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program.
    pub program: &'static str,
    /// Its arguments in their one form, without its name.
    pub arguments: Vec<String>,
    /// Files that they name to be read.
    pub reads: Vec<CanonicalPath>,
    /// Files that they name to be written.
    pub writes: Vec<CanonicalPath>,
}

/// Why a command is refused, and what would be taken.
pub type CommandError = String;

impl Takes {
    /// What it is called where a command is shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "TEXT",
            Self::Number => "NUMBER",
            Self::Read => "FILE",
            Self::Write => "OUTPUT-FILE",
        }
    }
}

impl Program {
    /// How a command of it is written, in a line.
    #[must_use]
    pub fn usage(&self) -> String {
        let mut words = vec![self.name.to_owned()];
        for flag in self.options {
            let names = flag.names.join("|");
            let takes = flag.takes.map_or(String::new(), |takes| format!(" {}", takes.name()));
            words.push(format!("[{names}{takes}]"));
        }
        words.extend(self.operands.iter().map(|takes| takes.name().to_owned()));
        words.extend(self.more.map(|(takes, _)| format!("[{}...]", takes.name())));
        words.join(" ")
    }
}

impl Command {
    /// Reads an array of words, the first of which is a program of `programs`.
    ///
    /// # Errors
    /// What is wrong with it, and the usage of the program.
    pub fn parse(value: &Json, programs: &[&'static Program]) -> Result<Self, CommandError> {
        let words = words(value)?;
        let mut words = words.into_iter();
        let named = words.next().unwrap_or_default();
        let program = programs.iter().find(|program| program.name == named).ok_or_else(|| {
            let names: Vec<&str> = programs.iter().map(|program| program.name).collect();
            format!("a program first, one of {}", names.join(", "))
        })?;
        Reader { program, command: Self::of(program.name) }
            .read(words.peekable())
            .map_err(|why| format!("{why}; usage: {}", program.usage()))
    }

    const fn of(program: &'static str) -> Self {
        Self { program, arguments: Vec::new(), reads: Vec::new(), writes: Vec::new() }
    }
}

fn words(value: &Json) -> Result<Vec<&str>, CommandError> {
    let array = value.as_array().filter(|words| !words.is_empty() && words.len() <= WORDS_MAX);
    let words = array.map(|words| words.iter().map(Json::as_str).collect::<Option<Vec<&str>>>());
    let fits = |word: &&str| word.len() <= WORD_BYTES_MAX && !word.contains('\0');
    let all_fit = |words: &Vec<&str>| {
        words.iter().all(fits)
            && words.iter().map(|word| word.len()).sum::<usize>() <= COMMAND_BYTES_MAX
    };
    words.flatten().filter(all_fit).ok_or_else(|| {
        format!(
            "an array of 1 to {WORDS_MAX} texts without NUL, of at most {WORD_BYTES_MAX} bytes each \
             and {COMMAND_BYTES_MAX} together"
        )
    })
}

/// A command that is being read.
struct Reader<'a> {
    program: &'a Program,
    command: Command,
}

impl Reader<'_> {
    fn read<'w>(
        mut self,
        mut words: std::iter::Peekable<impl Iterator<Item = &'w str>>,
    ) -> Result<Command, CommandError> {
        while let Some(word) = words.next_if(|word| word.len() > 1 && word.starts_with('-')) {
            if word == "--" {
                break;
            }
            let known = |flag: &&Flag| flag.names.contains(&word);
            let flag = self.program.options.iter().find(known);
            let flag = flag.ok_or_else(|| format!("`{}` is no option of it", shown(word)))?;
            self.command.arguments.extend(flag.names.first().map(|name| (*name).to_owned()));
            if let Some(takes) = flag.takes {
                let value = words.next().ok_or_else(|| format!("`{word}` takes a word"))?;
                self.take(takes, value)?;
            }
        }
        self.command.arguments.push("--".to_owned());
        for takes in self.program.operands {
            let word = words.next().ok_or_else(|| format!("its {} is missing", takes.name()))?;
            self.take(*takes, word)?;
        }
        let (takes, most) = self.program.more.unwrap_or((Takes::Text, 0));
        for (count, word) in words.enumerate() {
            if count >= most {
                return Err(format!("at most {most} more operands, without `{}`", shown(word)));
            }
            self.take(takes, word)?;
        }
        Ok(self.command)
    }

    fn take(&mut self, takes: Takes, word: &str) -> Result<(), CommandError> {
        let path = || CanonicalPath::parse(word).map_err(|error| error.to_string());
        let word = match takes {
            Takes::Text => word.to_owned(),
            Takes::Number => {
                let number: Result<u32, _> = word.parse();
                number
                    .map_err(|_error| format!("`{}` is no whole number", shown(word)))?
                    .to_string()
            }
            Takes::Read => {
                let path = path()?;
                self.command.reads.push(path.clone());
                path.as_str().to_owned()
            }
            Takes::Write => {
                let path = path()?;
                self.command.writes.push(path.clone());
                path.as_str().to_owned()
            }
        };
        self.command.arguments.push(word);
        Ok(())
    }
}

/// A word of a caller's, as it may be shown.
fn shown(word: &str) -> String {
    contract::effect::visible(word).chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::PROGRAMS;
    use proptest::prelude::*;
    use serde_json::json;

    fn parse(words: &[&str]) -> Result<Command, CommandError> {
        Command::parse(&json!(words), PROGRAMS)
    }

    #[test]
    fn a_command_has_one_form() {
        let command = parse(&["sort", "--reverse", "-o", "out/x", "a", "-b"]).unwrap();
        let wanted = ["-r", "-o", "/workspace/out/x", "--", "/workspace/a", "/workspace/-b"];
        assert_eq!(command.arguments, wanted);
        let paths = |paths: &[CanonicalPath]| -> Vec<String> {
            paths.iter().map(|path| path.as_str().to_owned()).collect()
        };
        assert_eq!(paths(&command.reads), ["/workspace/a", "/workspace/-b"]);
        assert_eq!(paths(&command.writes), ["/workspace/out/x"]);
    }

    #[test]
    fn what_the_grammar_does_not_know_is_refused_with_its_usage() {
        for words in [
            &["sort", "--compress-program=sh", "a"][..],
            &["sort", "-T", "/", "a"],
            &["jq", "-L", "/", "."],
            &["jq"],
            &["cut", "-f"],
            &["wc", "-lw"],
            &["head", "-n", "x", "a"],
            &["diff", "a"],
            &["diff", "a", "b", "c"],
        ] {
            let why = parse(words).unwrap_err();
            assert!(why.contains(&format!("; usage: {}", words[0])), "{why}");
        }
        assert!(parse(&["sh", "-c", "id"]).unwrap_err().starts_with("a program first, one of "));
        let long = "x".repeat(4_000);
        let too_long = json!(["wc", long, long, long, long, long]);
        assert!(Command::parse(&too_long, PROGRAMS).unwrap_err().contains("together"));
        for bad in [json!([]), json!("wc"), json!(["wc", 1]), json!(["wc", "a\0"])] {
            assert!(Command::parse(&bad, PROGRAMS).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_program_is_sound() {
        let names: Vec<&str> = PROGRAMS.iter().map(|program| program.name).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted, "sorted, and none is there twice");
        for program in PROGRAMS {
            for flag in program.options {
                assert!(flag.names.iter().all(|name| name.starts_with('-') && name.len() > 1));
                let twice = program.options.iter().flat_map(|other| other.names);
                for name in flag.names {
                    assert_eq!(twice.clone().filter(|other| *other == name).count(), 1, "{name}");
                }
            }
        }
    }

    proptest! {
        /// Whatever is given: a form that is taken again and stays the same, whose words begin with a
        /// dash only where an option of the grammar stands.
        #[test]
        fn any_words_have_a_form_or_are_refused(
            program in 0..PROGRAMS.len(),
            words in proptest::collection::vec("-{0,2}[a-zA-Z0-9/.=]{0,6}", 0..8),
        ) {
            let mut command = vec![PROGRAMS[program].name.to_owned()];
            command.extend(words);
            if let Ok(parsed) = Command::parse(&json!(command), PROGRAMS) {
                let mut again = vec![parsed.program.to_owned()];
                again.extend(parsed.arguments.clone());
                prop_assert_eq!(&Command::parse(&json!(again), PROGRAMS).unwrap(), &parsed);
                for path in parsed.reads.iter().chain(&parsed.writes) {
                    prop_assert!(parsed.arguments.iter().any(|word| word == path.as_str()));
                }
                // up to the `--` each word is an option in its first spelling, or what one takes
                let mut words = parsed.arguments.iter();
                while let Some(word) = words.next().filter(|word| *word != "--") {
                    let options = PROGRAMS[program].options.iter();
                    let flag = options.into_iter().find(|flag| flag.names[0] == word);
                    prop_assert!(flag.is_some(), "{word}");
                    if flag.is_some_and(|flag| flag.takes.is_some()) {
                        words.next();
                    }
                }
            }
        }
    }
}

//! The handlers of caged capabilities: one module a category. A handler gets an accepted input and
//! writes one JSON object as the answer; its failure is a declared code.

mod archive;
mod cage;
mod digest;
mod directory;
mod filesystem;
mod folder;
mod git;
mod gzip;
mod look;
mod pattern;
mod pieces;
mod process;
mod search;
mod system;
mod tar;
mod tree;

use capabilities::Accepted;
use contract::perform::Work;
use contract::rings;
use pieces::Pieces;
use serde_json::{Value as Json, json};
use std::fs::File;
use std::io::{self, Read, Write};

/// Longest input: the longest content, escaped, and the rest of its object.
const INPUT_BYTES_MAX: u64 = 100 << 20;

/// What a step of a handler gives, or the code of a failure.
type Answer<T> = Result<T, &'static str>;

/// What a handler returns: the answer, or the code of a failure.
type Performed = Answer<Json>;

/// Performs one call, whose answer is put together in `bytes`; returns the code that it ends with.
pub(crate) fn perform(
    work: &Work,
    input: &File,
    mut answer: File,
    bytes: &mut Vec<u8>,
) -> &'static str {
    let performed = read(input).and_then(|input| {
        let declaration = capabilities::find(&work.capability).ok_or("unknown_capability")?;
        let accepted = declaration.accept(&input).map_err(|_refused| "bad_input")?;
        look::assert(&work.expects)?;
        dispatch(&work.capability, &accepted, work, Pieces::new(&answer, work.streams))
    });
    let (code, body) = match performed {
        Ok(body) => ("ok", body),
        Err(code) => (code, json!({ "error": code })),
    };
    let written = serde_json::to_writer(&mut *bytes, &body).map_err(io::Error::from);
    if u64::try_from(bytes.len()).is_ok_and(|length| length > work.answer_bytes_max) {
        return "answer_too_long";
    }
    match written.and_then(|()| answer.write_all(bytes)) {
        Ok(()) => code,
        Err(_reader_gone) => "unread",
    }
}

fn read(input: &File) -> Performed {
    let mut bytes = Vec::new();
    input.take(INPUT_BYTES_MAX).read_to_end(&mut bytes).map_err(|_error| "bad_input")?;
    serde_json::from_slice(&bytes).map_err(|_error| "bad_input")
}

fn dispatch(capability: &str, input: &Accepted, work: &Work, pieces: Pieces<'_>) -> Performed {
    match capability {
        rings::CAPABILITY => cage::attempt(input),
        "filesystem.append@1" => filesystem::append(input),
        "filesystem.archive@1" => archive::archive(input, work.call),
        "filesystem.copy@1" => filesystem::copy(input),
        "filesystem.delete@1" => filesystem::delete(input, work.call),
        "filesystem.digest@1" => digest::digest(input),
        "filesystem.extract@1" => archive::extract::extract(input),
        "filesystem.list@1" => filesystem::list(input),
        "filesystem.mkdir@1" => filesystem::mkdir(input),
        "filesystem.move@1" => filesystem::rename(input),
        "filesystem.move_directory@1" => directory::rename(input),
        "filesystem.read@1" => filesystem::read(input),
        "filesystem.restore@1" => filesystem::restore(input),
        "filesystem.search@1" => search::search(input),
        "filesystem.stat@1" => filesystem::stat(input),
        "filesystem.write@1" => filesystem::write(input, work.call),
        "git.add@1" => git::make::add(input, work.call),
        "git.branch_create@1" => git::make::branch_create(input),
        "git.branch_list@1" => git::branch_list(input),
        "git.commit@1" => git::make::commit(input, work.call),
        "git.diff@1" => git::diff(input),
        "git.init@1" => git::make::init(input),
        "git.log@1" => git::log(input),
        "git.show@1" => git::show(input),
        "git.status@1" => git::status(input),
        "process.run@1" => process::run(input, pieces),
        "process.run_code@1" => process::run_code(input, pieces),
        "system.info@1" => Ok(system::info()),
        "system.time@1" => Ok(system::time()),
        _ => Err("unknown_capability"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::perform::Work;

    #[test]
    fn an_answer_longer_than_its_call_may_give_is_not_given() {
        for (answer_bytes_max, code) in [(1, "answer_too_long"), (1 << 10, "ok")] {
            let input = channel::sealed::holding(b"{}").unwrap();
            let (answer, pipe) = rustix::pipe::pipe().unwrap();
            let work = Work {
                call: [1; 16],
                capability: "system.time@1".to_owned(),
                grants: Vec::new(),
                expects: Vec::new(),
                ports: Vec::new(),
                answer_bytes_max,
                streams: false,
                polls: 0,
            };
            assert_eq!(perform(&work, &File::from(input), pipe.into(), &mut Vec::new()), code);
            let mut given = String::new();
            File::from(answer).read_to_string(&mut given).unwrap();
            assert_eq!(given.is_empty(), code != "ok", "{given}");
        }
    }
}

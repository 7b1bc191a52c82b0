//! Repositories of git in real cages: a life of one, then what must not come of another. The filter of the
//! files class is all that these calls have.

use crate::cage::{ALICE, LIMITS, Stand, ended};
use channel::ChannelError;
use serde_json::{Value as Json, json};

const WORKSPACE: &str = "/data/agents/alice/workspace";

impl Stand<'_> {
    /// Every verb.
    pub(crate) fn repositories(&mut self) -> Result<(), ChannelError> {
        let one = json!({ "path": "one" });
        self.expect("repository place", "filesystem.mkdir", &one, "ok")?;
        self.expect("repository none", "git.status", &one, "no_repository")?;
        self.expect("repository init", "git.init", &one, "ok")?;
        let file = json!({ "path": "one/a.txt", "content": "hello\n" });
        self.expect("repository file", "filesystem.write", &file, "ok")?;
        self.expect("repository add", "git.add", &one, "ok")?;
        let commit = json!({ "path": "one", "message": "begin" });
        let made = self.expect("repository commit", "git.commit", &commit, "ok")?;
        self.expect("repository commit again", "git.commit", &commit, "nothing_to_commit")?;
        let status = self.expect("repository status", "git.status", &one, "ok")?;
        let clean = ["staged", "unstaged", "untracked"];
        let clean = clean.iter().all(|name| status.get(name) == Some(&json!([])));
        self.say("repository clean", clean, &status)?;
        let log = self.expect("repository log", "git.log", &one, "ok")?;
        let same = log.pointer("/commits/0/id").is_some_and(|id| Some(id) == made.get("id"));
        self.say("repository log of it", same, &log)?;
        let show = self.expect("repository show", "git.show", &one, "ok")?;
        let patch = show.get("patch").and_then(Json::as_str);
        self.say("repository patch", patch.is_some_and(|it| it.contains("+hello")), &show)?;
        self.expect("repository diff", "git.diff", &one, "ok")?;
        let branch = json!({ "path": "one", "name": "feature/one" });
        self.expect("repository branch", "git.branch_create", &branch, "ok")?;
        self.expect("repository branches", "git.branch_list", &one, "ok")?;
        self.other_repositories()
    }

    /// Another repository than was decided, more than was decided, and one with a link in it.
    fn other_repositories(&mut self) -> Result<(), ChannelError> {
        let (one, two) = (json!({ "path": "one" }), json!({ "path": "two" }));
        self.expect("repository two", "filesystem.mkdir", &two, "ok")?;
        self.expect("repository two init", "git.init", &two, "ok")?;
        self.expect("repository two empty", "git.branch_list", &two, "ok")?;
        let add = json!({ "path": "one" });
        for (name, decided_as, decided, capability, input) in [
            ("undecided repository", "git.branch_list", &one, "git.branch_list", &two),
            ("undecided files", "git.log", &one, "git.status", &one),
            ("undecided write", "git.status", &one, "git.add", &add),
        ] {
            let effects = self.effects(decided_as, decided);
            let came = self.perform(ALICE, capability, input, effects, LIMITS)?;
            self.say(name, ended(&came).0 == "denied", &format!("{came:?}"))?;
        }
        let head = format!("{WORKSPACE}/two/.git/HEAD");
        std::fs::remove_file(&head).ok();
        std::os::unix::fs::symlink("../../one/.git/HEAD", &head).ok();
        self.expect("repository link", "git.branch_list", &two, "link").map(drop)
    }
}

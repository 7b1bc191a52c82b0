//! A box with an operator: booted, paired by its console's code, reached through its doors from
//! outside, as `krux` and agents' clients reach it.

use crate::{Disk, Image, Machine, Options, root};
use anyhow::{Context, Result, ensure};
use serde_json::{Value as Json, json};
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A paired box.
#[derive(Debug)]
pub struct Operated {
    /// The machine.
    pub machine: Machine,
    /// Its disk, removed with it.
    pub disk: Option<Disk>,
    /// What krux keeps.
    pub config: PathBuf,
    operators: u16,
    agents: u16,
}

/// What a door answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The HTTP status; 0 when there was no answer.
    pub status: u16,
    /// The body, if it is JSON.
    pub json: Json,
}

/// Server-sent events, as they come; dropped, their connection is closed.
pub struct Events(Lines<BufReader<ureq::BodyReader<'static>>>);

/// One event: its name, its id, its data.
pub type Event = (String, Option<u64>, Json);

/// One agent's client, with a connection that it keeps.
#[derive(Debug, Clone)]
pub struct Client {
    agent: ureq::Agent,
    url: String,
    bearer: String,
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Runs krux with what it keeps in `config`: its exit code, its lines, its errors.
///
/// # Errors
/// When it cannot be run.
pub fn krux(config: &std::path::Path, words: &[&str]) -> Result<(i32, Vec<Json>, String)> {
    krux_with(config, words, b"")
}

/// The same, with what it reads from standard input.
///
/// # Errors
/// When it cannot be run.
pub fn krux_with(
    config: &std::path::Path,
    words: &[&str],
    input: &[u8],
) -> Result<(i32, Vec<Json>, String)> {
    let mut command = Command::new(krux_program()?);
    command.arg("--config").arg(config).arg("--json").args(words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    // short enough for the pipe; a command that reads none of it may be gone by now
    child.stdin.take().context("stdin")?.write_all(input).ok();
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output.status.code().unwrap_or(-1), lines, errors))
}

/// The krux that was built beside this test.
///
/// # Errors
/// When it is not there.
pub fn krux_program() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.parent().and_then(std::path::Path::parent).context("target folder")?;
    let krux = folder.join("krux");
    ensure!(krux.exists(), "{} is not built; run ./ci/test", krux.display());
    Ok(krux)
}

impl Operated {
    /// Boots a copy of `image` and pairs with it.
    ///
    /// # Errors
    /// When it does not come up, or the pairing does not hold.
    pub fn start(image: &Image, name: &str) -> Result<Self> {
        let disk = Disk::copy(image, name)?;
        Self::boot(Some(disk), name, Options::new())
    }

    /// Boots on `disk`, or on what `options` name, and pairs unless it is paired from an earlier boot.
    ///
    /// # Errors
    /// When it does not come up, or the pairing does not hold.
    pub fn boot(disk: Option<Disk>, name: &str, mut options: Options) -> Result<Self> {
        let (operators, agents) = (free_port()?, free_port()?);
        options.forward = vec![(operators, 7_800), (agents, 7_700)];
        let place = match &disk {
            Some(disk) => disk.path.clone(),
            None => root().join("build/tests").join(format!("{name}.raw")),
        };
        let mut machine = Machine::start_at(&place, &options)?;
        machine.wait_ready()?;
        let config = root().join("build/tests").join(format!("{name}-krux"));
        std::fs::remove_dir_all(&config).ok();
        Ok(Self { machine, disk, config, operators, agents })
    }

    /// Asks the console for a code and pairs.
    ///
    /// # Errors
    /// When there is no code, or the pairing does not hold.
    pub fn pair(&mut self) -> Result<()> {
        self.machine.type_line("")?;
        self.machine.wait_for("good for ten minutes", 30)?;
        let console = self.machine.console();
        let code = console.rsplit("pairing code: ").next().and_then(|rest| rest.lines().next());
        let code = code.context("code")?.trim().to_owned();
        let operators = format!("127.0.0.1:{}", self.operators);
        let agents = format!("127.0.0.1:{}", self.agents);
        self.krux(&["pair", &operators, &code, "--name", "ann", "--agents", &agents])?;
        Ok(())
    }

    /// Follows a box that was paired in an earlier boot to its ports of today.
    ///
    /// # Errors
    /// When it was not.
    pub fn follow(&self, earlier: &std::path::Path) -> Result<()> {
        let path = earlier.join("boxes/box.json");
        let mut known: Json = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
        for (name, port) in [("address", self.operators), ("agents", self.agents)] {
            let member = known.get_mut(name).context("member")?;
            *member = Json::String(format!("127.0.0.1:{port}"));
        }
        crate::run(Command::new("cp").arg("-r").arg(earlier).arg(&self.config))?;
        Ok(std::fs::write(self.config.join("boxes/box.json"), known.to_string())?)
    }

    /// Runs krux; its exit code, its lines, its errors.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn try_krux(&self, words: &[&str]) -> Result<(i32, Vec<Json>, String)> {
        krux(&self.config, words)
    }

    /// The operators' and the agents' address, on this machine.
    #[must_use]
    pub fn addresses(&self) -> [String; 2] {
        [self.operators, self.agents].map(|port| format!("127.0.0.1:{port}"))
    }

    /// Runs krux, which must succeed; its first line.
    ///
    /// # Errors
    /// When it does not.
    pub fn krux(&self, words: &[&str]) -> Result<Json> {
        let (code, lines, errors) = self.try_krux(words)?;
        ensure!(code == 0, "krux {words:?}: exit code {code}: {errors}");
        Ok(lines.into_iter().next().unwrap_or_default())
    }

    /// Runs krux on what it reads from standard input, at most 64 KiB; it must succeed; its first line.
    ///
    /// # Errors
    /// When it does not.
    pub fn krux_on(&self, words: &[&str], input: &str) -> Result<Json> {
        let (code, lines, errors) = krux_with(&self.config, words, input.as_bytes())?;
        ensure!(code == 0, "krux {words:?}: exit code {code}: {errors}");
        Ok(lines.into_iter().next().unwrap_or_default())
    }

    /// What another person's krux keeps, who is no operator yet: its folder, and the words of `krux operator
    /// add` that make them one.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn person(&self, name: &str) -> Result<(PathBuf, [String; 5])> {
        let folder = self.config.join(name);
        let (code, lines, said) = krux(&folder, &["whoami"])?;
        let own = lines.first().with_context(|| format!("whoami: {code} {said}"))?;
        let text = |name: &str| own.get(name).and_then(Json::as_str).context("whoami");
        let path = self.config.join("boxes/box.json");
        let mut known: Json = serde_json::from_str(&std::fs::read_to_string(path)?)?;
        *known.get_mut("operator").context("operator")? = Json::String(name.to_owned());
        std::fs::create_dir_all(folder.join("boxes"))?;
        std::fs::write(folder.join("boxes/box.json"), known.to_string())?;
        let words = ["operator", "add", name, text("key")?, text("recipient")?];
        Ok((folder, words.map(str::to_owned)))
    }

    /// Adds an agent; its client.
    ///
    /// # Errors
    /// When the box refuses.
    pub fn agent(&self, name: &str) -> Result<Client> {
        let added = self.krux(&["agent", "add", name])?;
        let token = added.get("token").and_then(Json::as_str).context("token")?.to_owned();
        self.client(self.agents, &token)
    }

    /// The token of an agent that was added here.
    ///
    /// # Errors
    /// When it was not.
    pub fn token(&self, name: &str) -> Result<String> {
        Ok(std::fs::read_to_string(self.config.join("tokens/box").join(name))?)
    }

    /// A client of an agent that was added in an earlier boot.
    ///
    /// # Errors
    /// When the box is not paired.
    pub fn agent_with(&self, token: &str) -> Result<Client> {
        self.client(self.agents, token)
    }

    /// A client of the operators' door, without a credential.
    ///
    /// # Errors
    /// When the box is not paired.
    pub fn stranger(&self) -> Result<Client> {
        self.client(self.operators, "none")
    }

    fn client(&self, port: u16, token: &str) -> Result<Client> {
        Client::new(&self.config.join("boxes/box.json"), port, token)
    }
}

impl Client {
    /// A client of the door on this machine's `port`, of the box that krux keeps in the file `known`.
    ///
    /// # Errors
    /// When the file is none of krux.
    pub fn new(known: &std::path::Path, port: u16, token: &str) -> Result<Self> {
        use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
        let known = std::fs::read_to_string(known)?;
        let known: Json = serde_json::from_str(&known)?;
        let digits = known.get("authority").and_then(Json::as_str).context("authority")?;
        let der = contract::digits::unhex(digits).context("authority")?;
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::new_with_certs(&[Certificate::from_der(&der).to_owned()]))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok(Self {
            agent: ureq::Agent::new_with_config(config),
            url: format!("https://{address}"),
            bearer: format!("Bearer {token}"),
        })
    }

    /// One call. A door that is away is status 0.
    #[must_use]
    pub fn call(&self, capability: &str, input: &Json) -> Reply {
        let body = json!({ "capability": capability, "input": input }).to_string();
        self.post("/v1/calls", &[("content-type", "application/json")], body.as_bytes())
    }

    /// The digest of the workspace, once the link that the image of the tests plants there (`tests/probe`'s
    /// planter) is in it: what a person says yes to is what is still there afterwards.
    ///
    /// # Errors
    /// When there is no link after ten seconds, or no digest.
    pub fn digest(&self) -> Result<String> {
        let path = json!({ "path": "/workspace" });
        let names = || self.call("filesystem.list", &path).json;
        let deadline = Instant::now() + Duration::from_secs(10);
        while !names().pointer("/result/entries").and_then(Json::as_array).is_some_and(|entries| {
            entries.iter().any(|entry| entry.get("name") == Some(&json!("link")))
        }) {
            ensure!(Instant::now() < deadline, "no link was planted: {}", names());
            std::thread::sleep(Duration::from_millis(50));
        }
        let reply = self.call("filesystem.digest", &path);
        let digest = reply.json.pointer("/result/digest").and_then(Json::as_str);
        digest.map(str::to_owned).with_context(|| format!("{reply:?}"))
    }

    /// Any request with the agent's token.
    #[must_use]
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let request = self.agent.post(format!("{}{path}", self.url));
        let request = request.header("authorization", &self.bearer);
        let request = headers.iter().fold(request, |request, (n, v)| request.header(*n, *v));
        Self::reply(request.send(body))
    }

    /// What a door answers, as text.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn text(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<String> {
        let request = self.agent.post(format!("{}{path}", self.url));
        let request = request.header("authorization", &self.bearer);
        let request = headers.iter().fold(request, |request, (n, v)| request.header(*n, *v));
        Ok(request.send(body)?.body_mut().read_to_string()?)
    }

    /// A request whose body comes as slowly as `body` gives it.
    #[must_use]
    pub fn post_slowly(&self, path: &str, body: &mut dyn std::io::Read) -> Reply {
        let request = self.agent.post(format!("{}{path}", self.url));
        let request = request.config().timeout_global(None).build();
        let request = request.header("authorization", &self.bearer);
        Self::reply(request.send(ureq::SendBody::from_reader(body)))
    }

    /// Asks for a path with the agent's token.
    #[must_use]
    pub fn get(&self, path: &str) -> Reply {
        let request = self.agent.get(format!("{}{path}", self.url));
        Self::reply(request.header("authorization", &self.bearer).call())
    }

    /// What a door answers as it comes, to a call or, without one, to a question: events, or an answer that
    /// is none of them.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn events(&self, path: &str, call: Option<&Json>) -> Result<Result<Events, Reply>> {
        let url = format!("{}{path}", self.url);
        let accept = ("accept", "text/event-stream");
        let answer = match call {
            Some(call) => {
                let request = self.agent.post(url).header("authorization", &self.bearer);
                request.header(accept.0, accept.1).send(call.to_string().as_bytes())?
            }
            None => {
                let request = self.agent.get(url).header("authorization", &self.bearer);
                request.header(accept.0, accept.1).call()?
            }
        };
        let media_type = answer.headers().get("content-type").and_then(|v| v.to_str().ok());
        if media_type != Some("text/event-stream") {
            return Ok(Err(Self::reply(Ok(answer))));
        }
        Ok(Ok(Events(BufReader::new(answer.into_body().into_reader()).lines())))
    }

    /// The same client with another credential.
    #[must_use]
    pub fn with_bearer(&self, bearer: &str) -> Self {
        Self { bearer: bearer.to_owned(), ..self.clone() }
    }

    fn reply(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Reply {
        match answer {
            Ok(mut answer) => {
                let status = answer.status().as_u16();
                let body = answer.body_mut().with_config().limit(64 << 20).read_to_vec();
                let json = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default();
                Reply { status, json }
            }
            Err(error) => Reply { status: 0, json: Json::String(error.to_string()) },
        }
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str("Events")
    }
}

impl Iterator for Events {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut lines = Vec::new();
        loop {
            match self.0.next()? {
                Ok(line) if line.is_empty() => break,
                Ok(line) => lines.push(line),
                Err(error) => return Some(Err(error.into())),
            }
        }
        let field = |name: &str| lines.iter().find_map(|line| line.strip_prefix(name));
        let data = field("data: ").and_then(|data| serde_json::from_str(data).ok());
        let name = field("event: ").unwrap_or_default().to_owned();
        let id = field("id: ").and_then(|id| id.parse().ok());
        Some(data.context("data").map(|data| (name, id, data)))
    }
}

impl Reply {
    /// The error's code, or the answer's.
    #[must_use]
    pub fn code(&self) -> &str {
        let error = self.json.pointer("/error/code").or(self.json.get("code"));
        error.or(self.json.get("status")).and_then(Json::as_str).unwrap_or_default()
    }

    /// The call's number, if it was one.
    #[must_use]
    pub fn number(&self) -> Option<&str> {
        let call = self.json.get("call").or(self.json.pointer("/error/call"));
        call.and_then(Json::as_str)
    }
}

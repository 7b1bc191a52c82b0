"""The walk of ./image/run --smoke: a real MCP client, and an operator with krux, at a booted box.

    walk.py KRUX CONFIG OPERATORS AGENTS CODE

Every step prints one line; the first one that does not hold ends the walk with exit code 1.
"""

import asyncio
import hashlib
import json
import pathlib
import ssl
import subprocess
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

OPEN = """policy: box
version: 1
otherwise: blocked
rules:
  - name: everything-is-open
    agents: [any]
    effects: [observe, read, write, delete]
    decision: autonomous
"""


class Broken(Exception):
    """A step that does not hold."""


def holds(what, truth, seen=""):
    print(f"  {'ok  ' if truth else 'FAIL'} {what}", flush=True)
    if not truth:
        raise Broken(f"{what}: {seen}")


class Operator:
    """krux, as a person would run it."""

    def __init__(self, krux, config):
        self.words = [krux, "--config", config, "--json"]

    def run(self, *words, stdin=None):
        done = subprocess.run([*self.words, *words], input=stdin, capture_output=True, text=True, check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return done.returncode, lines, done.stderr

    def __call__(self, *words, stdin=None):
        code, lines, errors = self.run(*words, stdin=stdin)
        if code != 0:
            raise Broken(f"krux {' '.join(words)}: exit code {code}: {errors}")
        return lines[0] if len(lines) == 1 else lines


class Agent:
    """An agent that speaks MCP by the client of the `mcp` package."""

    def __init__(self, url, token, ca):
        context = ssl.create_default_context(cafile=ca)
        self.http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, verify=context,
                                       timeout=httpx2.Timeout(60.0), trust_env=False)
        self.client = Client(streamable_http_client(url, http_client=self.http), mode="legacy", cache=None)

    async def __aenter__(self):
        await self.client.__aenter__()
        return self

    async def __aexit__(self, *error):
        await self.client.__aexit__(*error)
        await self.http.aclose()

    async def call(self, tool, **words):
        """(code, answer): `ok` or the error's code."""
        done = await self.client.call_tool(tool, words)
        said = done.structured_content or {}
        if done.is_error:
            return said["error"]["code"], said["error"]
        return said.get("status", said.get("code", "ok")), said


async def walk(krux, config, operators, agents, code):
    operator = Operator(krux, config)
    paired = operator("pair", operators, code, "--name", "ann", "--agents", agents)
    holds("paired by the console's code; the authority is pinned", len(paired["key_digest"]) == 64)
    ca = pathlib.Path(config) / "ca.pem"
    clients = []
    for name in ("first", "second"):
        operator("agent", "add", name)
        facts = operator("agent", "connect", name, "--ca", str(ca))
        clients.append(Agent(facts["url"], facts["token"], str(ca)))
    calls = []
    async with clients[0] as first, clients[1] as second:
        await tools(first)
        await files(first, calls)
        await refused(first, calls)
        await link(first)
        await deletion(operator, first, calls)
        await other(second, calls)
        await opened(operator, first, calls)
    ledger(operator, config, calls)


async def tools(agent):
    listed = (await agent.client.list_tools()).tools
    named = {tool.name: tool.meta or {} for tool in listed}
    for name, meta in named.items():
        if meta:
            print(f"       {name:20} {meta['kruxos/risk']} {meta['kruxos/mildest']}")
    holds("tools are listed with risk class and mildest decision",
          named["filesystem.delete"]["kruxos/mildest"] == "approval"
          and named["filesystem.read"] == {"kruxos/risk": "R0", "kruxos/mildest": "autonomous"}, named)


async def did(agent, calls, tool, **words):
    code, answer = await agent.call(tool, **words)
    calls.append((tool, answer.get("call")))
    return code, answer


async def files(agent, calls):
    code, answer = await did(agent, calls, "filesystem.write", path="notes/a.txt", content="x")
    holds("a directory that is not there is a typed error", code == "not_found", answer)
    await did(agent, calls, "filesystem.mkdir", path="notes")
    code, answer = await did(agent, calls, "filesystem.write", path="notes/a.txt", content="hello\n")
    holds("a file is written", code == "ok", answer)
    code, answer = await did(agent, calls, "filesystem.read", path="notes/a.txt")
    holds("and read back", answer["result"]["content"] == "hello\n", answer)
    code, answer = await did(agent, calls, "filesystem.list", path="notes")
    holds("and listed", [entry["name"] for entry in answer["result"]["entries"]] == ["a.txt"], answer)


async def refused(agent, calls):
    for name, path in (("/etc/passwd", "/etc/passwd"), ("../", "../etc/passwd")):
        code, answer = await did(agent, calls, "filesystem.read", path=path)
        holds(f"{name} is refused by policy", code == "denied" and "otherwise" in answer["message"], answer)


async def link(agent):
    for _ in range(50):
        code, answer = await agent.call("filesystem.stat", path="link")
        if code != "not_found":
            break
        await asyncio.sleep(0.1)
    code, answer = await agent.call("filesystem.read", path="link")
    holds("a planted link is refused by the cage with a typed error", code == "link", answer)


async def deletion(operator, agent, calls):
    code, answer = await did(agent, calls, "filesystem.delete", path="notes/a.txt")
    holds("delete waits for a person", code == "pending", answer)
    call = answer["call"]
    code, _ = await agent.call("call.result", call=call)
    holds("and says so when asked", code == "pending", code)
    asked = operator("approve", "show", call)
    digest = hashlib.sha256(b"hello\n").hexdigest()
    wanted = [f"delete /workspace/notes/a.txt; a file is there, bytes=6 sha256={digest}"]
    holds("the operator sees the effect, and what it would destroy", asked["effects"] == wanted, asked)
    operator("approve", "accept", call, "--digest", asked["digest"])
    again, _, _ = operator.run("approve", "accept", call, "--digest", asked["digest"])
    holds("a second yes is refused", again != 0, again)
    for _ in range(100):
        code, answer = await agent.call("call.result", call=call)
        if code == "ended":
            break
        await asyncio.sleep(0.1)
    holds("the deletion is performed", answer.get("code") == "ok", answer)
    code, _ = await did(agent, calls, "filesystem.read", path="notes/a.txt")
    holds("the file is gone", code == "not_found", code)
    code, answer = await did(agent, calls, "filesystem.restore", path="notes/a.txt", call=call)
    holds("restore", code == "ok", answer)
    code, answer = await did(agent, calls, "filesystem.read", path="notes/a.txt")
    holds("brings it back", answer.get("result", {}).get("content") == "hello\n", answer)


async def other(agent, calls):
    code, answer = await did(agent, calls, "filesystem.read", path="notes/a.txt")
    holds("a second agent does not find the first one's file", code == "not_found", answer)
    code, answer = await did(agent, calls, "filesystem.list", path=".")
    names = [entry["name"] for entry in answer["result"]["entries"]]
    holds("and lists none of them", names in ([], ["link"]), names)


async def opened(operator, agent, calls):
    policy = pathlib.Path(operator.words[2]) / "open.yaml"
    policy.write_text(OPEN)
    operator("policy", "apply", str(policy))
    wanted = (("/etc/passwd", "/etc/passwd", "not_found"), ("../", "../etc/passwd", "not_found"),
              ("the link", "link", "link"))
    for name, path, code in wanted:
        found, answer = await did(agent, calls, "filesystem.read", path=path)
        holds(f"with a policy that opens everything, the cage refuses {name}: {found}", found == code, answer)


def ledger(operator, config, calls):
    recorded = {}
    for record in operator("audit", "query", "--kind", "decision"):
        recorded[record["call"]] = record
    missing = [(tool, call) for tool, call in calls if call not in recorded]
    holds(f"every call is in the ledger ({len(calls)} of them)", not missing, missing)
    export = pathlib.Path(config) / "ledger.bin"
    operator("audit", "export", str(export))
    verified = operator("audit", "verify", str(export))
    holds(f"an export of {verified['records']} records verifies: {verified['statements']} statements, signed by the box",
          verified["intact"] and verified["signed"], verified)
    content = bytearray(export.read_bytes())
    content[len(content) // 2] ^= 1
    export.write_bytes(content)
    code, said, _ = operator.run("audit", "verify", str(export))
    holds(f"one changed byte is found: {said[0].get('error')}", code == 9 and "record" in said[0]["error"], said)


def main():
    krux, config, operators, agents, code = sys.argv[1:]
    try:
        asyncio.run(walk(krux, config, operators, agents, code))
    except* Broken as broken:
        print(f"error: {broken.exceptions[0]}", file=sys.stderr)
        sys.exit(1)


main()

#!/usr/bin/env python3
"""Checks what `magnum log export` printed against the chain of hashes; docs/audit.md explains it.

    verify_export.py EXPORT [ANCHOR [PUBLIC-KEY]]     needs: pip install blake3 cryptography
"""
import io, json, struct, sys
from datetime import datetime, timedelta, timezone
from uuid import UUID
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

KINDS = {1: "bay", 2: "baymodel", 3: "node", 4: "container", 5: "pod", 128: "audit"}
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
need = lambda is_so, words: is_so or sys.exit(f"not sound: {words}")

class Content(io.BytesIO):
    def take(self, size):
        data = self.read(size)
        return need(len(data) == size, "a content is too short") and data
    def number(self):  # bincode 2: one byte up to 250; after 251, 252, 253 come 2, 4, 8 bytes
        first = self.take(1)[0]
        return first if first < 251 else int.from_bytes(self.take(1 << first - 250), "little")
    text = lambda self: self.take(self.number()).decode()
    uuid = lambda self: str(UUID(bytes=self.take(self.number())))
    maybe = lambda self, read: read() if self.take(1)[0] else None
    claim = lambda self: {("take", "share", "release")[self.number()]:
                          {"scope": self.text(), "text": self.text()}}
    def fields(self):
        kind, of, revision, id, time, version, codec, name, meta, payload = struct.unpack(
            "<B16sQ16sqHBBII", self.take(61))
        need(codec == 1, f"codec {codec} is unknown")
        time = (EPOCH + timedelta(microseconds=time)).isoformat(timespec="microseconds")
        name, m = self.take(name).decode(), Content(self.take(meta))
        meta = {"project": m.text(), "user": m.text(),
                "roles": [m.text() for _ in range(m.number())], "request_id": m.text(),
                "command_id": m.maybe(m.text), "reason": m.maybe(m.text),
                "causation": m.maybe(m.uuid), "command": m.maybe(m.text)}
        if m.tell() < len(m.getvalue()):
            meta["claims"] = [m.claim() for _ in range(m.number())]
        need(len(self.read()) == payload and not m.read(), "a content has another length")
        return {"stream": {"kind": KINDS.get(kind), "id": str(UUID(bytes=of))}, "type": name,
                "revision": revision, "id": str(UUID(bytes=id)), "time": time, "version": version,
                "meta": meta}
export, anchor, known = (sys.argv[1:] + [None, None])[:3]
if anchor:
    anchor = json.load(open(anchor))
    signed = [anchor[field] for field in ("folder", "position", "hash", "time")]
    signed = "".join(f"{line}\n" for line in ["magnum-anchor-1", *signed]).encode()
    need(known in (None, anchor["public_key"]), "the anchor was signed with another key")
    try: Ed25519PublicKey.from_public_bytes(bytes.fromhex(anchor["public_key"])).verify(
        bytes.fromhex(anchor["signature"]), signed)
    except Exception: sys.exit("not sound: the anchor's signature does not fit")
chain, position = bytes(32), 0
for position, text in enumerate(sys.stdin if export == "-" else open(export), 1):
    line, content = json.loads(text), bytes.fromhex(json.loads(text)["content"])
    need(line["position"] == position, f"line {position} has position {line['position']}")
    chain = blake3(chain + struct.pack("<Q", position) + blake3(content).digest()).digest()
    need(line["hash"] == chain.hex(), f"line {position} is not what the chain covers")
    for field, then in Content(content).fields().items():
        need(line[field] == then, f"line {position}: {field} was {then}, not {line[field]}")
    if anchor and position == anchor["position"]:
        need(anchor["hash"] == chain.hex(), f"line {position} is not what was signed")
need(not anchor or position >= anchor["position"], f"the end is missing after line {position}")
print(f"sound up to position {position}, chain {chain.hex()}; data was not compared")

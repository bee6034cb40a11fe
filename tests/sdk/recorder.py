"""The Python client of Ziggeo. Order on standard input: { base, application, private, encryption, file }; result on standard output."""

import json
import sys

from Ziggeo import Ziggeo
from ZiggeoConnect import ZiggeoConnect

order = json.load(sys.stdin)
client = Ziggeo(order["application"], order["private"], order["encryption"])
client.connect = ZiggeoConnect(client, order["base"])
client.cdn_connect = ZiggeoConnect(client, order["base"])
tokens = client.authtokens()
grants = json.dumps({"create": {"session_owned": True}})
made = tokens.create({"session_limit": 2, "volatile": True, "grants": grants})
result = {"made": made}
if "token" in made:
    result["updated"] = tokens.update(made["token"], {"session_limit": 5})
    result["got"] = tokens.get(made["token"])
    tokens.delete(made["token"])
    result["after"] = tokens.get(made["token"])
    result["client"] = client.auth().generate({"grants": {"create": {"session_owned": True}}})
    result["uploaded"] = client.videos().create({}, order["file"])
print(json.dumps(result))

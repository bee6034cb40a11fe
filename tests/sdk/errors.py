"""The vendors' SDKs for Python, refused by running gateways: see errors.mjs for order and answer."""
import json
import os
import sys
import traceback

order = json.load(sys.stdin)


def failing(call):
    try:
        return {"done": str(call())}
    except Exception as error:
        return {"name": type(error).__name__, "status": getattr(error, "status", getattr(error, "status_code", None))}


def apivideo():
    from apivideo import AuthenticatedApiClient
    from apivideo.apis import UploadTokensApi

    def client(key, base):
        made = AuthenticatedApiClient(key)
        made.configuration.host = base
        return made

    said = {}
    over = client(order["key"], order["control"])
    over.connect()
    # As it is after an hour.
    over._access_token = "0" * 64
    said["over"] = failing(lambda: UploadTokensApi(over).list())
    limited = client(order["limited"]["apivideo"], order["control"])
    # That was its one call.
    limited.connect()
    said["limited"] = failing(lambda: UploadTokensApi(limited).list())
    said["away"] = failing(client(order["key"], order["away"]).connect)
    return said


def ziggeo():
    from Ziggeo import Ziggeo
    from ZiggeoConnect import ZiggeoConnect

    def create(key, base):
        sdk = Ziggeo(order["app"], key, order["encryption"])
        sdk.connect = ZiggeoConnect(sdk, base)
        return sdk.authtokens().create({})

    create(order["limited"]["ziggeo"], order["control"])
    return {
        "wrong": create("wrong", order["control"]),
        "limited": create(order["limited"]["ziggeo"], order["control"]),
        "away": create(order["key"], order["away"]),
    }


def cloudflare():
    from cloudflare import Cloudflare

    def keys(key, base, **more):
        client = Cloudflare(api_token=key, base_url=base + "/client/v4", **more)
        return client.stream.keys.get(account_id=order["account"])

    keys(order["limited"]["cloudflare"], order["control"])
    return {
        "limited": failing(lambda: keys(order["limited"]["cloudflare"], order["control"], max_retries=0)),
        "away": failing(lambda: keys(order["key"], order["away"])),
    }


said = {}
for name, run in (("apivideo", apivideo), ("ziggeo", ziggeo), ("cloudflare", cloudflare)):
    try:
        said[name] = run()
    except Exception:
        said[name] = {"broke": traceback.format_exc()}
print(json.dumps(said, default=str))
# The api.video client keeps a thread that would hold the program.
sys.stdout.flush()
os._exit(0)

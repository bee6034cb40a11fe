"""The vendors' SDKs for Python against a running gateway: see flow.mjs for order and answer."""
import base64
import json
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

order = json.load(sys.stdin)


def status(path):
    try:
        with urllib.request.urlopen(order["data"] + path) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def failing(call):
    try:
        call()
    except Exception as error:
        return {"name": type(error).__name__, "status": getattr(error, "status", getattr(error, "status_code", None))}
    return "no error"


def apivideo():
    from apivideo import AuthenticatedApiClient
    from apivideo.api_client import ApiClient
    from apivideo.configuration import Configuration
    from apivideo.apis import LiveStreamsApi, UploadTokensApi, VideosApi
    from apivideo.model.token_creation_payload import TokenCreationPayload

    client = AuthenticatedApiClient(order["key"])
    client.configuration.host = order["control"]
    client.connect()
    tokens = UploadTokensApi(client)
    said = {}
    made = [tokens.create_token(TokenCreationPayload(ttl=ttl)) for ttl in (300, 0, 100)]
    said["created"] = [{"ttl": one["ttl"], "ends": "expires_at" in one.to_dict(), "id": one["token"][:2]} for one in made]
    page = tokens.list(sort_by="ttl", sort_order="asc", current_page=1, page_size=2)
    said["listed"] = [one["ttl"] for one in page["data"]]
    said["pages"] = page["pagination"]["pages_total"]
    said["got"] = tokens.get_token(made[1]["token"])["ttl"]
    uploader = VideosApi(ApiClient(Configuration(host=order["data"])))
    said["uploaded"] = uploader.upload_with_upload_token(made[1]["token"], open(order["file"], "rb"))["video_id"]
    client.refresh_token()
    tokens.delete_token(made[1]["token"])
    said["refused"] = failing(lambda: uploader.upload_with_upload_token(made[1]["token"], open(order["file"], "rb")))
    said["missing"] = failing(lambda: tokens.get_token("toMissing"))
    video = VideosApi(client).get("vi4k0jvEUuaTdRAEjQ4Jfrgz")
    hls = urllib.parse.urlparse(video["assets"]["hls"]).path
    said["played"] = [status(hls), status(hls)]
    live = LiveStreamsApi(client).get("li4pqNqGUkhKfWcBGpZVLRY5")
    said["live"] = re.sub("[0-9a-f-]{36}", "TOKEN", urllib.parse.urlparse(live["assets"]["hls"]).path)
    wrong = AuthenticatedApiClient("wrong")
    wrong.configuration.host = order["control"]
    said["wrong"] = failing(wrong.connect)
    return said


def ziggeo():
    from Ziggeo import Ziggeo
    from ZiggeoConnect import ZiggeoConnect

    sdk = Ziggeo(order["app"], order["key"], order["encryption"])
    sdk.connect = ZiggeoConnect(sdk, order["control"])
    said = {}

    def play(token, how, video="v1"):
        return status("/v1/applications/%s/videos/%s/video.mp4?%s=%s" % (order["app"], video, how, token))

    tokens = sdk.authtokens()
    made = tokens.create({"session_limit": 2, "volatile": True, "grants": {"read": {"all": True}}})
    said["created"] = {"length": len(made["token"]), "limit": made["session_limit"], "volatile": made["volatile"], "grants": made["grants"]}
    said["dumped"] = tokens.create({"grants": json.dumps({"read": "all"})})["grants"]
    said["got"] = tokens.get(made["token"])["token"] == made["token"]
    said["played"] = play(made["token"], "server_auth")
    said["updated"] = tokens.update(made["token"], {"session_limit": 5})["session_limit"]
    said["deleted"] = tokens.delete(made["token"])
    if isinstance(said["deleted"], bytes):
        said["deleted"] = said["deleted"].decode()
    said["refused"] = play(made["token"], "server_auth")
    said["missing"] = tokens.get(made["token"])
    client = sdk.auth().generate({"grants": {"read": {"resources": ["v1"]}}})
    said["client"] = [play(client, "client_auth"), play(client, "client_auth", "v2")]
    return said


def cloudflare():
    from cloudflare import Cloudflare

    client = Cloudflare(api_token=order["key"], base_url=order["control"] + "/client/v4", max_retries=0)
    account = order["account"]
    uid = "ea95132c15732412d22c1476fa83f27b"
    said = {}

    def play(token):
        return status("/cf/%s/manifest/video.m3u8" % token)

    minted = client.stream.token.create(identifier=uid, account_id=account)
    said["minted"] = play(minted.token)
    key = client.stream.keys.create(account_id=account)
    said["key"] = [len(key.id), base64.b64decode(key.pem).decode().split("\n")[0]]
    listed = client.stream.keys.get(account_id=account)
    said["listed"] = [one.id == key.id for one in listed]
    end = int(time.time()) + 600
    given = client.stream.token.create(identifier=uid, account_id=account, id=key.id, pem=key.pem, exp=end, downloadable=True)
    said["played"] = play(given.token)
    said["deleted"] = client.stream.keys.delete(identifier=key.id, account_id=account)
    said["refused"] = [play(given.token), play(minted.token)]
    said["long"] = failing(lambda: client.stream.token.create(identifier=uid, account_id=account, exp=end + 90000))
    wrong = Cloudflare(api_token="wrong", base_url=order["control"] + "/client/v4", max_retries=0)
    said["wrong"] = failing(lambda: wrong.stream.keys.get(account_id=account))
    return said


said = {}
for name, run in (("apivideo", apivideo), ("ziggeo", ziggeo), ("cloudflare", cloudflare)):
    try:
        said[name] = run()
    except Exception as error:
        import traceback

        said[name] = {"broke": traceback.format_exc()}
print(json.dumps(said, default=str))
# The api.video client keeps a thread that would hold the program.
sys.stdout.flush()
import os

os._exit(0)

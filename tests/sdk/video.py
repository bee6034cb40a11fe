"""The Python client of api.video. Order on standard input: { base, key?, token?, file?, chunk? }; result on standard output."""

import json
import sys

from apivideo.api_client import ApiClient
from apivideo.auth_api_client import AuthenticatedApiClient
from apivideo.configuration import Configuration
from apivideo.exceptions import ApiException
from apivideo.api.upload_tokens_api import UploadTokensApi
from apivideo.api.videos_api import VideosApi

order = json.load(sys.stdin)
result = {}
try:
    if order.get("key"):
        client = AuthenticatedApiClient(order["key"], production=False)
        client.configuration.host = order["base"]
        client.connect()
        tokens = UploadTokensApi(client)
        made = tokens.create_token({"ttl": 3600})
        result["made"] = made["token"]
        result["listed"] = [token["token"] for token in tokens.list(page_size=10)["data"]]
        tokens.delete_token(made["token"])
        client.refresh_token()
        result["refreshed"] = [token["token"] for token in tokens.list()["data"]]
        client.close()
    if order.get("token"):
        more = {"chunk_size": order["chunk"]} if order.get("chunk") else {}
        plain = ApiClient(Configuration(host=order["base"], **more))
        with open(order["file"], "rb") as file:
            result["video"] = VideosApi(plain).upload_with_upload_token(order["token"], file)["video_id"]
except ApiException as error:
    result["error"] = {"status": getattr(error, "status", None), "body": str(getattr(error, "body", ""))}
except Exception as error:  # what the client raises by itself
    result["error"] = {"status": None, "body": f"{type(error).__name__}: {error}"}
print(json.dumps(result))

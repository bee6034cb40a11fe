"""The Python client of Cloudflare. Order on standard input: { base, account, token, file }; result on standard output."""

import json
import sys
import urllib.request
import uuid

import cloudflare

order = json.load(sys.stdin)
result = {}
client = cloudflare.Cloudflare(api_token=order["token"], base_url=order["base"], max_retries=order.get("retries", 0))
stream, account = client.stream, order["account"]
try:
    key = stream.keys.create(account_id=account)
    result["key"] = key.id
    result["keys"] = [key.id for key in stream.keys.get(account_id=account)]
    token = stream.token.create(identifier="ea95132c15732412d22c1476fa83f27a", account_id=account, id=key.id, pem=key.pem, downloadable=True)
    result["token"] = token.token
    result["revoked"] = stream.keys.delete(identifier=key.id, account_id=account)
    upload = stream.direct_upload.create(account_id=account, max_duration_seconds=60)
    result["upload"] = upload.upload_url
    boundary = uuid.uuid4().hex
    with open(order["file"], "rb") as file:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="film.mp4"\r\n\r\n'
        body = head.encode() + file.read() + f"\r\n--{boundary}--\r\n".encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    result["uses"] = []
    for _ in range(2):
        try:
            result["uses"].append(urllib.request.urlopen(urllib.request.Request(upload.upload_url, body, kind)).status)
        except urllib.error.HTTPError as error:
            result["uses"].append(error.code)
except cloudflare.APIStatusError as error:
    result["error"] = {"status": error.status_code, "body": error.body}
print(json.dumps(result))

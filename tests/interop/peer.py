"""Signs and verifies with the libraries of others. Reads a list of orders (JSON) from standard input and writes the
list of answers: for each {"library", "do", ...} either {"ok": value} or {"refused": reason}."""

import base64
import datetime
import json
import sys


def cloudfront(order):
    from botocore.signers import CloudFrontSigner
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding

    end = datetime.datetime.fromtimestamp(order["end"], datetime.timezone.utc)
    key = serialization.load_pem_private_key(order["key"].encode(), None)
    signer = CloudFrontSigner("K1", lambda message: key.sign(message, padding.PKCS1v15(), hashes.SHA1()))
    if order["do"] == "verify":
        plain = lambda text: base64.b64decode(text.replace("-", "+").replace("_", "=").replace("~", "/"))
        policy = plain(order["policy"]) if "policy" in order else signer.build_policy(order["url"], end).encode()
        key.public_key().verify(plain(order["signature"]), policy, padding.PKCS1v15(), hashes.SHA256())
        return policy.decode()
    if "resource" in order:
        policy = signer.build_policy(order["resource"], end, ip_address=order.get("ip"))
        return signer.generate_presigned_url(order["url"], policy=policy)
    return signer.generate_presigned_url(order["url"], date_less_than=end)


def akamai(order):
    from akamai.edgeauth import EdgeAuth

    options = {name: order.get(name) for name in ("salt", "ip", "payload", "session_id")}
    auth = EdgeAuth(key=order["key"], end_time=order["end"], algorithm=order.get("algorithm", "sha256"), **options)
    return auth.generate_acl_token(order["acl"]) if "acl" in order else auth.generate_url_token(order["url"])


def cwt(order):
    import cwt as library

    if "pem" in order:
        key = library.COSEKey.from_pem(order["pem"], kid="e")
    else:
        key = library.COSEKey.from_symmetric_key(bytes.fromhex(order["key"]), alg="HS256", kid="h")
    if order["do"] == "sign":
        claims = {int(label): value for label, value in order["claims"].items()}
        claims = {label: {int(k): {int(m): v for m, v in r.items()} for k, r in value.items()} if label == 312 else value for label, value in claims.items()}
        token = library.encode(claims, key)
        return base64.urlsafe_b64encode(token).decode().rstrip("=")
    text = order["token"]
    token = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return {str(label): value for label, value in library.decode(token, key).items() if isinstance(value, (int, str))}


def jose(order):
    from jose import jwt

    if order["do"] == "sign":
        return jwt.encode(order["claims"], order["key"], algorithm=order["algorithm"], headers={"kid": "k"})
    return jwt.decode(order["token"], order["key"], algorithms=[order["algorithm"]])


LIBRARIES = {"botocore": cloudfront, "akamai-edgeauth": akamai, "cwt": cwt, "python-jose": jose}


def answer(order):
    try:
        return {"ok": LIBRARIES[order["library"]](order)}
    except Exception as fault:  # whatever a library says no with
        return {"refused": f"{type(fault).__name__}: {fault}"}


json.dump([answer(order) for order in json.load(sys.stdin)], sys.stdout)

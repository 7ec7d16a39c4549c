"""A log of legal events made of other people's parts: the standard library serves HTTP, jwcrypto checks and makes JWS,
OpenSSL does mutual TLS. Usage: http_agency.py SIMULATOR_FOLDER; prints its port, and a line for each request taken."""
import datetime
import json
import sys
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from agency import serve
from jwcrypto import jwk, jws

FOLDER = sys.argv[1]
EVENTS = {}
# Answers that are signed as they should be and still of no use, by the type of event.
ODD = {
    "Punte.Odd.Uid": lambda entry: {**entry, "uid": "x" * 100},
    "Punte.Odd.List": lambda entry: [1, 2],
    "Punte.Odd.Other": lambda entry: {"something": "else"},
}


def read(name):
    with open(f"{FOLDER}/{name}", "rb") as file:
        return file.read()


class Log(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        token = jws.JWS()
        token.deserialize(body.decode("ascii"), jwk.JWK.from_pem(read("request-signing.pem")))
        event = json.loads(token.payload)
        print("jwcrypto: signature verified", event["event_type"], self.headers.get("traceparent"), flush=True)
        entry = EVENTS.setdefault(event["event_id"], {"uid": str(uuid.uuid4()), "event_id": event["event_id"],
            "registered_at": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")})
        self.answer(200, json.dumps(ODD.get(event["event_type"], lambda entry: entry)(entry)).encode())

    def answer(self, status, payload):
        token = jws.JWS(payload)
        token.add_signature(jwk.JWK.from_pem(read("signing.key")), None, json.dumps({"alg": "RS256"}))
        header, _, signature = token.serialize(compact=True).split(".")
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-JWS-Signature", f"{header}..{signature}")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_):
        pass


def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Log)
    serve(server, FOLDER)


main()

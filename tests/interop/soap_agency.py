"""A civil registry made of other people's parts: spyne serves SOAP, zeep and xmlsec check and make WS-Security, OpenSSL
does mutual TLS. Usage: soap_agency.py SIMULATOR_FOLDER; prints its port, and a line for each request it has taken."""
import datetime
import sys
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import xmlsec
from agency import serve
from lxml import etree
from spyne import Application, Boolean, ComplexModel, Date, ServiceBase, Unicode, rpc
from spyne.protocol.soap import Soap11
from spyne.server.wsgi import WsgiApplication
from zeep.wsse.signature import BinarySignature, verify_envelope
from zeep.wsse.utils import WSU, get_security_header

NAMESPACE = "urn:example:civil-registry:1"
FOLDER = sys.argv[1]


class LookUpPersonRequest(ComplexModel):
    __namespace__ = NAMESPACE
    __type_name__ = "LookUpPerson"
    _type_info = [("PersonalNumber", Unicode(pattern="[0-9]{13}", min_occurs=1, nillable=False)), ("WithAddress", Boolean(min_occurs=1, nillable=False))]


class LookUpPersonResponse(ComplexModel):
    __namespace__ = NAMESPACE
    __type_name__ = "LookUpPersonResponse"
    _type_info = [("PersonalNumber", Unicode), ("FamilyName", Unicode), ("GivenName", Unicode), ("BirthDate", Date), ("Citizenship", Unicode)]


class Registry(ServiceBase):
    @rpc(LookUpPersonRequest, _returns=LookUpPersonResponse, _body_style="bare", _in_message_name="LookUpPerson",
         _out_message_name="LookUpPersonResponse")
    def LookUpPerson(ctx, request):
        print("spyne: LookUpPerson", "with address" if request.WithAddress else "without address", flush=True)
        born = datetime.date(1980, 2, 29)
        return LookUpPersonResponse(PersonalNumber=request.PersonalNumber, FamilyName="Exemplar", GivenName="Ana", BirthDate=born, Citizenship="MD")


def sealed(application):
    """Refuses what is not signed by the bus, and signs what goes back."""

    def serve(environ, start_response):
        size = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(size)
        verify_envelope(etree.fromstring(body), f"{FOLDER}/request-signing.pem")
        print("zeep: signature verified", environ.get("HTTP_TRACEPARENT", "no traceparent"), flush=True)
        import io
        environ["wsgi.input"] = io.BytesIO(body)
        answer = {}

        def keep(status, headers, exc_info=None):
            answer.update(status=status, headers=headers)

        envelope = etree.fromstring(b"".join(application(environ, keep)))
        payload = etree.tostring(signed(envelope))
        start_response(answer["status"], [("Content-Type", "text/xml; charset=utf-8"), ("Content-Length", str(len(payload)))])
        return [payload]

    return serve


def signed(envelope):
    security = get_security_header(envelope)
    now = datetime.datetime.now(datetime.timezone.utc)
    moment = lambda minutes: (now + datetime.timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    security.append(WSU.Timestamp(WSU.Created(moment(0)), WSU.Expires(moment(5))))
    signature = BinarySignature(
        f"{FOLDER}/signing.key",
        f"{FOLDER}/signing.pem",
        signature_method=xmlsec.Transform.RSA_SHA256,
        digest_method=xmlsec.Transform.SHA256,
    )
    return signature.apply(envelope, {})[0]


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


def main():
    application = Application([Registry], NAMESPACE, in_protocol=Soap11(validator="lxml"), out_protocol=Soap11())
    server = WSGIServer(("127.0.0.1", 0), Quiet)
    server.set_app(sealed(WsgiApplication(application)))
    serve(server, FOLDER)


main()

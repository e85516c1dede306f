"""Programs for a scripted modem that several files of tests run, and what one needs to make more."""

from __future__ import annotations

SEE = "see: {manual: x}"


def program(name: str, steps: str, rest: str = "") -> str:
    body = "\n".join("      " + line for line in steps.strip("\n").splitlines())
    return f"programs:\n  {name}:\n    {SEE}\n    steps:\n{body}\n{rest}"


QUICK = r"""
- send: 'AT+R={socket},{size}'
  lines: ['+R: {length:int}\r\n{data:raw(length)}']
  outcome:
    - {if: {length: 0}, is: empty}
"""


ERRORS = """
errors:
  file: {codes: {405: {kind: not_found, text: file not found}}}
  open: {codes: {563: {kind: socket_in_use, text: id in use}, 566: {kind: connect_or_handshake, text: failed}}}
"""


OPEN = (
    """
programs:
  tls_open:
    see: {manual: x}
    steps:
      - do:
          - send: 'AT+O={socket},{host:host},{port}'
            cause: {use: last_error, code: open, except: [0]}
          - await: '+O: {socket},{error:int}'
            timeout: 5
            fail: {unless: {error: 0}, code: open}
        retry: {if: {code: 563}, times: 1, before: [{use: tls_close}]}
    on_fail:
      - use: tls_close
  last_error:
    - {send: 'AT+E', see: {manual: x}, lines: ['+E: {code:int},{reason:text}']}
  tls_close:
    - {send: 'AT+C={socket}', see: {manual: x}, tolerate: {outcome: fail}}
capabilities: {pull: true, push: false}
"""
    + ERRORS
)
TARGET = {"pdp": 1, "context": 0, "socket": 3, "host": "a.example", "port": 443, "receive": "pull"}
COMMAND = b'AT+O=3,"a.example",443'
SETTINGS = {
    "context": 0, "version": 3, "suites": ("0XFFFF",), "ca": "ca.pem", "verify": True, "client_auth": False,
    "sni": False, "check_hostname": False, "check_dates": True, "handshake_timeout": 60,
    "dtls": False, "resume": False, "cid": False,
}  # fmt: skip

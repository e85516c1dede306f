"""A CoAP client that others have written, over the contract's DTLS with a key, to a CoAP server of others again."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from aiocoap import GET, PUT, Message
from aiocoap.numbers.codes import CHANGED, CONTENT, CREATED, NOT_FOUND

from modemtls.net import Psk, SslConfiguration, create_dtls_socket
from tests.peers.families import FAMILIES
from tests.peers.features import BY_NAME, lacking
from tests.peers.programs import IDENTITY, KEY, Place, coap_server
from tests.support import coap
from tests.support.subjects import NAME

PATIENCE = 20.0
FEATURE = BY_NAME["dtls1.2-psk"]
LARGE = bytes(range(220)) * 5
BLOCKS = (0, False, 5)
"""Answers in blocks of 512 bytes (RFC 7959, 2.2), for one of the modems reads 576 bytes at most."""


@pytest.fixture(params=FAMILIES, ids=lambda family: family.name)
def family(request):
    return request.param


@pytest.fixture
def sock(family, modem):
    lacks = lacking(FEATURE, modem.capabilities, host=family.engine == "host")
    if lacks:
        pytest.skip(f"{family.title} declares no capability: {', '.join(lacks)}")
    made = create_dtls_socket(modem, SslConfiguration(security=Psk(IDENTITY, KEY)), engine=family.engine)
    yield made
    made.cleanup()


@pytest.fixture
def server(pki, leaf, tmp_path):
    with coap_server(FEATURE, Place(tmp_path, pki, leaf)) as (port, _):
        yield f"{NAME}:{port}"


async def exchange(sock, server) -> None:
    context = await coap.client(sock)

    def message(code, path, **more):
        return Message(code=code, uri=f"coaps://{server}/{path}", **more)

    async def ask(code, path, payload=b""):
        request = context.request(message(code, path, payload=payload))
        return await asyncio.wait_for(request.response, PATIENCE)

    try:
        core = await ask(GET, ".well-known/core")
        assert core.code == CONTENT
        assert b"</time>" in core.payload
        assert (await ask(GET, "nothing/here")).code == NOT_FOUND

        assert (await ask(PUT, "example_data", b"small")).code == CREATED
        watch = context.request(message(GET, "example_data", observe=0, block2=BLOCKS))
        assert (await asyncio.wait_for(watch.response, PATIENCE)).payload == b"small"
        notes = aiter(watch.observation)
        assert (await ask(PUT, "example_data", LARGE)).code == CHANGED
        assert (await asyncio.wait_for(anext(notes), PATIENCE)).payload == LARGE
        watch.observation.cancel()
    finally:
        await context.shutdown()


@pytest.mark.server
def test_requests_blocks_and_an_observation(sock, server):
    host, port = server.split(":")
    sock.connect(host, port, timeout=PATIENCE)
    asyncio.run(exchange(sock, server))


@pytest.mark.server
def test_a_connection_that_has_gone_is_a_network_error(sock, server):
    host, port = server.split(":")
    sock.connect(host, port, timeout=PATIENCE)

    async def ask() -> None:
        context = await coap.client(sock)
        with contextlib.suppress(Exception):
            await asyncio.to_thread(sock.close)
        try:
            with pytest.raises(coap.NetworkError):
                await context.request(Message(code=GET, uri=f"coaps://{server}/time")).response
        finally:
            await context.shutdown()

    asyncio.run(ask())

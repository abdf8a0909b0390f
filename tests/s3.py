"""A server that speaks S3, on loopback and in this process, and stores and clients for it."""

import itertools
import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import boto3
import obstore.store
from botocore.config import Config
from moto.server import ThreadedMotoServer

BUCKET = "pictures"
KEYS: Any = {"access_key_id": "key", "secret_access_key": "secret", "region": "us-east-1"}
_NUMBERS = itertools.count()


@contextmanager
def server() -> Generator[str]:
    """Run a server with one bucket; give its address."""
    os.environ.setdefault("MOTO_ALLOW_NONEXISTENT_REGION", "true")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    address = f"http://{host}:{port}"
    try:
        client(address).create_bucket(Bucket=BUCKET)
        yield address
    finally:
        moto.stop()


def client(address: str) -> Any:  # noqa: ANN401 - boto3 makes its classes when it runs
    """Return a client of boto3."""
    return boto3.client(
        "s3",
        endpoint_url=address,
        aws_access_key_id=KEYS["access_key_id"],
        aws_secret_access_key=KEYS["secret_access_key"],
        region_name=KEYS["region"],
        config=Config(retries={"mode": "standard"}),
    )


def store(address: str, **options: Any) -> obstore.store.S3Store:  # noqa: ANN401
    """Return a store of obstore."""
    options["client_options"] = {"allow_http": True, **options.get("client_options", {})}
    return obstore.store.S3Store(BUCKET, endpoint=address, **options, **KEYS)


def fresh() -> str:
    """Return a folder of the bucket that nobody has used."""
    return f"pictures-{os.getpid()}-{next(_NUMBERS)}"

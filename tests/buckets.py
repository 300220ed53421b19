"""An S3 server on loopback (moto's), for what several machines share."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rollback_lib.store import Bucket

__all__ = ["bucket_server"]


@contextmanager
def bucket_server(*names: str) -> Iterator[Bucket]:
    """Serve buckets of these names; give how they are reached."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    bucket = Bucket(f"http://{host}:{port}", "us-east-1", "key-id", "key-secret", timeout_s=5)
    client = boto3.client(
        "s3",
        endpoint_url=bucket.endpoint,
        region_name=bucket.region,
        aws_access_key_id=bucket.access_key_id,
        aws_secret_access_key=bucket.secret_access_key,
    )
    for name in names:
        client.create_bucket(Bucket=name)
    try:
        yield bucket
    finally:
        server.stop()

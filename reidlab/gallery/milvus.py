"""The vectors of a gallery in Milvus: one machine's file, or a cluster by its address."""
import hashlib
import logging
import os
from collections.abc import Sequence

import numpy as np

from reidlab.errors import ReidlabError
from reidlab.gallery.rows import ALL, Only, Row
from reidlab.gallery.vectors import Take

BATCH = 1000  # rows of one message


class MilvusVectors:
    """A collection whose rows are the pictures of one state of a gallery, exactly searched (index
    FLAT).

    A picture's key is made from its path: 63 bits of SHA-1.

    Args:
        uri: ``http://HOST:19530``, or a file, which Milvus Lite serves from this process.
        collection: its name.
        width: D of the vectors.
        rows: the pictures that are there, in the order of their numbers.
        make: make the collection, empty; else it has to be there, with as many rows.

    Raises:
        ReidlabError: no client installed, nobody answers, or the collection is not there or whole.
    """

    def __init__(self, uri: str, collection: str, width: int, rows: Sequence[Row] = (),
                 make: bool = False):
        self._client = connected(uri)
        from pymilvus import DataType
        self.uri, self.collection, self.width = uri, collection, width
        self.keys = keys_of(rows)
        self._number = {key: number for number, key in enumerate(self.keys)}
        there = self._said(self._client.has_collection, collection)
        if not make:
            held = self._count() if there else 0
            if held != len(self.keys):
                raise ReidlabError(f"Milvus at {uri} has {held} of {len(self.keys)} pictures of "
                                   "this gallery; name the address that it was made with, or "
                                   "delete the gallery and index again")
            return
        if there:
            self._said(self._client.drop_collection, collection)
        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("key", DataType.INT64, is_primary=True)
        schema.add_field("camera", DataType.INT64)
        schema.add_field("time", DataType.INT64)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=width)
        index = self._client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="IP")
        self._said(self._client.create_collection, collection, schema=schema, index_params=index,
                   consistency_level="Strong")

    def __len__(self):
        return len(self.keys)

    def put(self, rows: Sequence[Row], take: Take) -> None:
        """Add rows; `take` gives the vectors of positions."""
        keys = keys_of(rows)
        for start in range(0, len(rows), BATCH):
            chosen = range(start, min(len(rows), start + BATCH))
            vectors = take(np.array(chosen))
            self._said(self._client.upsert, self.collection, [
                {"key": keys[k], "camera": rows[k].camera, "time": rows[k].time, "vector": vector}
                for k, vector in zip(chosen, vectors, strict=True)])

    def _count(self) -> int:
        self._said(self._client.load_collection, self.collection)
        found = self._said(self._client.query, self.collection, filter="",
                           output_fields=["count(*)"])
        return int(found[0]["count(*)"])

    def forget(self) -> None:
        """Remove the whole collection."""
        self._said(self._client.drop_collection, self.collection)

    def search(self, query: np.ndarray, k: int, only: Only = ALL
               ) -> tuple[np.ndarray, np.ndarray]:
        """Numbers and scores of the `k` nearest, best first; as a local gallery gives them."""
        found = self._said(self._client.search, self.collection, data=[query.tolist()], limit=k,
                           anns_field="vector", search_params={"metric_type": "IP"},
                           filter=only.expression())[0]
        known = [(self._number[hit["key"]], hit["distance"]) for hit in found]
        numbers = np.array([number for number, _ in known], np.int64)
        scores = np.array([score for _, score in known], np.float32)
        order = np.lexsort((numbers, -scores))
        return numbers[order], scores[order]

    def vectors(self, numbers: np.ndarray) -> np.ndarray:
        """(n, D) float32 of pictures by their numbers."""
        out = np.empty((len(numbers), self.width), np.float32)
        keys = [self.keys[number] for number in numbers]
        for start in range(0, len(keys), BATCH):
            found = {row["key"]: row["vector"] for row in self._said(
                self._client.get, self.collection, ids=keys[start:start + BATCH],
                output_fields=["vector"])}
            for place, key in enumerate(keys[start:start + BATCH], start=start):
                if key not in found:
                    raise ReidlabError(f"{self.uri} lacks pictures of the collection "
                                       f"{self.collection}; delete the gallery and index again")
                out[place] = found[key]
        return out

    def _said(self, call, *given, **named):
        return _said(self.uri, call, *given, **named)


def connected(uri: str):
    """A client of Milvus at an address, or of Milvus Lite on a file.

    Raises:
        ReidlabError: no client installed, or nobody answers.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # or it tells of each forked reader
    try:
        from pymilvus import MilvusClient
    except ImportError as fault:
        raise ReidlabError("a gallery in Milvus needs its client; pip install 'reidlab[milvus]'"
                           ) from fault
    for name in ("pymilvus", "grpc"):  # what fails is told once, by `_said`
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return _said(uri, MilvusClient, uri)


def _said(uri: str, call, *given, **named):
    """What the server answers.

    Raises:
        ReidlabError: it does not, or refuses.
    """
    try:
        return call(*given, **named)
    except Exception as fault:  # its client raises what gRPC, a file or a server raises
        why = " ".join(str(getattr(fault, "message", fault)).split())[:160]
        raise ReidlabError(f"Milvus at {uri}: {why or type(fault).__name__}; start it, or name "
                           "another address by --gallery milvus:URI") from fault


def keys_of(rows: Sequence[Row]) -> list[int]:
    """A key for each picture.

    Raises:
        ReidlabError: two share one, which does not happen below some hundred million pictures.
    """
    keys = [int.from_bytes(hashlib.sha1(row.path.encode(errors="surrogatepass")).digest()[:8],
                           "big") >> 1 for row in rows]
    if len(set(keys)) < len(keys):
        raise ReidlabError("two pictures have one key in Milvus; rename one of the newest")
    return keys

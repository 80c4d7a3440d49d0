"""Small raw data of every source, as texts by file name."""

import gzip
import io
import json
import tarfile
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq

ZIP_TIME = (2026, 1, 1, 0, 0, 0)


def lines(*rows):
    return "".join(f"{row}\n" for row in rows)


def movielens():
    """Three users who have rated ten movies each."""
    return {
        "users.dat": lines(
            "1::F::1::10::48067", "3::M::25::0::55117", "2::M::56::16::70072"
        ),
        "ratings.dat": lines(
            *(
                f"{user}::{10 * movie}::{5 if movie % 3 else 4}::{movie}"
                for user in (1, 2, 3)
                for movie in range(1, 11)
            )
        ),
        "movies.dat": lines(
            *(f"{10 * i}::Part {i} (19{i:02})::Drama" for i in range(1, 11))
        ),
    }


def reviews():
    """Ten users who have each reviewed three of ten items."""
    return [
        {"reviewerID": f"A{user}", "asin": f"B{(user + i) % 10}", "overall": 5}
        for user in range(10)
        for i in (0, 1, 3)
    ]


def amazon():
    """A category in JSON lines, and one in csv."""
    return {
        "Books_5.json": lines(*map(json.dumps, reviews())),
        "Toys.csv": lines(
            *(f"{row['reviewerID']},T{row['asin']},4.0,7" for row in reviews())
        ),
    }


def taobao():
    """Ten users and thirty items, with vectors, in three themes."""
    clicks = [
        f"{user},{user + step},{theme},2019-06-13 04:32:05"
        for theme in (3, 1, 2)
        for user in range(10)
        for step in range(theme + user)
    ]
    return {
        "theme_click_log.csv": lines(
            "user_id,item_id,theme_id,reach_time", *clicks
        ),
        "user_embedding.csv": lines(
            "user_id,embedding", *(f"{one},{one} 1" for one in range(10))
        ),
        "item_embedding.csv": lines(
            "item_id,embedding", *(f"{one},{one} -1" for one in range(30))
        ),
    }


def mamdr():
    """Two domains with all their files."""
    files = {}
    for number in (0, 2):
        for part in ("train", "val", "test"):
            files[f"domain_{number}/{part}.csv"] = lines(
                "uid,pid,domain,label",
                *(f"{i},{i % 3},{number},{i % 2}" for i in range(4)),
            )
        files[f"domain_{number}/domain_property.json"] = json.dumps(
            {"domain_name": f"theme_{number}", "n_uid": 4, "ctr_ratio": 0.3}
        )
    for name, ids in (
        ("uid", {"901": 0, "7": 2, "-88": 1, "6": 3}),
        ("pid", {"B00A": 2, "10": 0, "B00C": 1}),
    ):
        files[f"processed_data/{name}2id.json"] = json.dumps(
            {"id": len(ids), "raw_id2id": ids}
        )
    files["processed_data/user_emb.json"] = json.dumps(
        {str(i): f"{i} -{i}.5" for i in range(4)}
    )
    return files


LOG = {
    "label": "click",
    "domain": "shop",
    "categorical": ["user", "item"],
    "numeric": ["price"],
    "sequence": ["history:3"],
}
"""The columns of `table`."""


def rows():
    return [
        {
            "click": i % 2,
            "shop": ("toys", "books")[i % 3 == 0],
            "user": i % 5 - 2,
            "item": f"item {i % 4}",
            "price": i / 4,
            "history": [f"item {j % 4}" for j in range(i % 4)],
            "part": ("train", "train", "valid", "test")[i // 2 % 4],
        }
        for i in range(24)
    ]


def csv_log():
    """A log of your own, as csv."""
    text = [",".join(rows()[0])]
    for row in rows():
        cells = {**row, "history": "|".join(row["history"])}
        text.append(",".join(map(str, cells.values())))
    return lines(*text).encode()


def parquet_log():
    """The same log as Parquet."""
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows()), stream, row_group_size=10)
    return stream.getvalue()


def csv_vectors():
    """Vectors of the log's items, as csv."""
    items = sorted({row["item"] for row in rows()})
    return lines(
        "item,vector", *(f"{item},{i} -{i}.5" for i, item in enumerate(items))
    ).encode()


def parquet_vectors():
    """Such vectors as Parquet."""
    items = sorted({row["item"] for row in rows()})
    stream = io.BytesIO()
    vectors = [[float(i), -1.0] for i in range(len(items))]
    pq.write_table(pa.table({"item": items, "vector": vectors}), stream)
    return stream.getvalue()


def zipped(files):
    """A zip archive of the files, the same bytes each time."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(name, ZIP_TIME)
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, content)
    return stream.getvalue()


def tarred(files, compressed=True):
    """A tar archive of the files, the same bytes each time."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    data = stream.getvalue()
    return gzip.compress(data, 1, mtime=0) if compressed else data

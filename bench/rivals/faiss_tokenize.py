"""The rival of CALL semtok.tokenize: reads embeddings by psycopg, encodes them by FAISS with the
same codebook, and writes the ids back. As fast as such a client gets: binary COPY read as arrays,
batches of a commit each, rows named by ctid.

dsn, table, tokenizer, write (copy: COPY and an UPDATE that joins; many: executemany), batch,
threads. Prints seconds and the rows written."""

import struct
import time

import faiss
import numpy as np
import psycopg
import rival


def codebook(connection, tokenizer):
    """(quantizer, dim) from the stored form: version, metric, levels, dim, sizes, codewords."""
    stored = connection.execute(
        "SELECT codebook FROM semtok.tokenizer WHERE id = %s", [tokenizer], binary=True
    ).fetchone()[0]
    _, _, levels, dim = struct.unpack_from("<BBHI", stored)
    quantizer = faiss.ResidualQuantizer(dim, levels, 8)
    codewords = np.frombuffer(stored, np.float32, offset=8 + 4 * levels)
    faiss.copy_array_to_vector(codewords, quantizer.codebooks)
    quantizer.is_trained = True
    quantizer.max_beam_size = 1
    quantizer.compute_codebook_tables()
    return quantizer, dim


def batches(connection, table, dim, rows):
    """(ctids, embeddings), so many rows at a time, out of a binary COPY without parsing values."""
    # fields, 6 bytes of ctid, an array of one dimension whose elements have 4 bytes each
    width = 2 + 4 + 6 + 4 + 20 + dim * 8
    pending, skip = bytearray(), 19
    with connection.cursor().copy(
        f"COPY (SELECT ctid, embedding FROM {table}) TO STDOUT (FORMAT binary)"
    ) as copy:
        for data in copy:
            if skip:
                data, skip = bytes(data)[skip:], 0
            pending += data
            while len(pending) >= rows * width:
                yield split(bytes(pending[: rows * width]), width, dim)
                del pending[: rows * width]
    rest = len(pending) // width
    if rest:
        yield split(bytes(pending[: rest * width]), width, dim)


def split(data, width, dim):
    raw = np.frombuffer(data, np.uint8).reshape(-1, width)
    ctids = np.ascontiguousarray(raw[:, 6:12])
    block = np.ascontiguousarray(ctids[:, :4]).view(">u4").ravel()
    offset = np.ascontiguousarray(ctids[:, 4:]).view(">u2").ravel()
    values = np.ascontiguousarray(raw[:, 36:]).reshape(len(raw), dim, 8)[:, :, 4:]
    x = np.ascontiguousarray(values).view(">f4").reshape(len(raw), dim).astype(np.float32)
    return list(zip(block.tolist(), offset.tolist())), x


def write_copy(connection, table, tokenizer, ctids, codes):
    text = "".join(
        f"({b},{o})\t[{c[0]},{c[1]},{c[2]}]@{tokenizer}\n" for (b, o), c in zip(ctids, codes.tolist())
    )
    with connection.cursor() as cursor:
        with cursor.copy("COPY batch FROM STDIN") as copy:
            copy.write(text)
        cursor.execute(f"UPDATE {table} t SET sid = b.sid FROM batch b WHERE t.ctid = b.id")
        written = cursor.rowcount
        cursor.execute("TRUNCATE batch")
    connection.commit()
    return written


def write_many(connection, table, tokenizer, ctids, codes):
    with connection.cursor() as cursor:
        cursor.executemany(
            f"UPDATE {table} SET sid = %s::semid WHERE ctid = %s::tid",
            [
                (f"[{c[0]},{c[1]},{c[2]}]@{tokenizer}", f"({b},{o})")
                for (b, o), c in zip(ctids, codes.tolist())
            ],
        )
    connection.commit()
    return len(ctids)


given = rival.arguments("dsn", "table", "write")
faiss.omp_set_num_threads(given.threads)
reader, writer = psycopg.connect(given.dsn), psycopg.connect(given.dsn)
quantizer, dim = codebook(reader, given.tokenizer)
writer.execute("CREATE TEMP TABLE batch (id tid, sid semid)")
# The rows of a batch are found by their place, not by reading the table.
writer.execute("SET enable_hashjoin = off")
writer.execute("SET enable_mergejoin = off")
writer.commit()
began = time.perf_counter()
written = 0
for ctids, x in batches(reader, given.table, dim, given.batch):
    codes = quantizer.compute_codes(x)
    write = write_copy if given.write == "copy" else write_many
    written += write(writer, given.table, given.tokenizer, ctids, codes)
rival.tell(seconds=time.perf_counter() - began, rows=written)

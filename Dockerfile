# PostgreSQL with semtok.
#
#   docker build -t semtok .                            (--build-arg PG_MAJOR=15, 17 or 18)
#   docker run -d -p 5432:5432 -e POSTGRES_PASSWORD=secret semtok
#   psql -h localhost -U postgres -c 'CREATE EXTENSION semtok'
ARG PG_MAJOR=17

FROM postgres:${PG_MAJOR}-trixie AS build
ARG PG_MAJOR
RUN apt-get update \
 && apt-get install -y --no-install-recommends build-essential "postgresql-server-dev-$PG_MAJOR"
WORKDIR /semtok
COPY . .
RUN make -j"$(nproc)" with_llvm=no PG_CONFIG="/usr/lib/postgresql/$PG_MAJOR/bin/pg_config" \
 && make install with_llvm=no PG_CONFIG="/usr/lib/postgresql/$PG_MAJOR/bin/pg_config" DESTDIR=/out

FROM postgres:${PG_MAJOR}-trixie
COPY --from=build /out/ /
# By TCP: while the image prepares a new cluster the server listens on its socket alone.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
  CMD pg_isready -q -h 127.0.0.1 -U "${POSTGRES_USER:-postgres}" || exit 1

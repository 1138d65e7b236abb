# A CPU image of the command: docker build -t occnet . && \
#   docker run --rm -v "$PWD:/work" occnet reconstruct scan.ply -o mesh.glb
FROM python:3.13-slim AS build
WORKDIR /src
RUN pip install --no-cache-dir build
COPY . .
RUN python -m build --wheel --outdir /dist

FROM python:3.13-slim
COPY --from=build /dist/*.whl /tmp/
COPY locks/python-3.13.txt /tmp/lock.txt
# The lock bounds the versions; what only tests need is not installed.
RUN pip install --no-cache-dir --constraint /tmp/lock.txt "$(ls /tmp/*.whl)[demo,hub,dae]" \
  && rm /tmp/*.whl /tmp/lock.txt \
  && useradd --create-home user
USER user
WORKDIR /work
ENTRYPOINT ["occnet"]
CMD ["--help"]

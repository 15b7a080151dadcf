"""What each service is: its program, its settings, and how one sees that it answers."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError

from components.errors import UserError
from pipeline.services.facts import Facts
from pipeline.services.objects import READY, direct
from pipeline.services.processes import Server, as_user, shell_environment

HOST = "127.0.0.1"
OWNER = "stillhouse"  # of the databases
DATABASES = ("mlflow", "mlflow_auth")
BUCKET = "stillhouse"
REGION = "us-east-1"


def program(name: str, package: str) -> str:
    """The path of a program, on PATH or where Debian keeps it; UserError naming the package that lacks."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/local/bin:/usr/bin")
    if found is None:
        raise UserError(f"{name} is not installed", f"apt-get install {package}")
    return found


def require(module: str, project: str) -> None:
    """UserError where a Python package that the services need is absent."""
    if find_spec(module) is None:
        raise UserError(f"the Python package {project} is not installed here", f"pip install '{project}'")


def postgres_program(name: str, data: Path) -> str:
    """A program of PostgreSQL, of the version that has made the data, else of the newest installed."""
    versions = Path("/usr/lib/postgresql")
    stamp = data / "PG_VERSION"
    if stamp.exists():
        version = stamp.read_text().strip()
        fitting = versions / version / "bin" / name
        return str(fitting) if fitting.exists() else program(name, f"postgresql-{version}")
    installed = sorted(versions.glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    return str(installed[-1]) if installed else program(name, "postgresql")


def unprivileged() -> str:
    """Who runs PostgreSQL, which refuses root: "" for ourselves, else postgres or nobody."""
    if os.geteuid() != 0:
        return ""
    known = Path("/etc/passwd").read_text(encoding="utf-8")
    return "postgres" if "\npostgres:" in known else "nobody"


def lay_out_postgres(folder: Path, facts: Facts) -> None:
    """Make the database cluster where there is none, with one password-protected owner and no trust of anybody."""
    home = folder / "postgresql"
    if (home / "data" / "PG_VERSION").exists():
        return
    user = unprivileged()
    require_entry(folder, user)
    shutil.rmtree(home, ignore_errors=True)  # of a start that was killed in the midst of this
    home.mkdir(mode=0o700)
    password = home / "password"
    password.write_text(facts.passwords["postgresql"] + "\n")
    if user:
        for path in (home, password):
            shutil.chown(path, user, as_user(user)["group"])
    made = home / "data.partial"
    command = [postgres_program("initdb", home / "data"), "--pgdata", str(made), "--username", OWNER,
               "--pwfile", str(password), "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--data-checksums",
               "--no-instructions"]
    done = subprocess.run(command, env=shell_environment(), capture_output=True, text=True, check=False, cwd="/",
                          **as_user(user))
    if done.returncode:
        raise UserError(f"initdb ended with exit code {done.returncode}: {done.stderr.strip()[-300:]}",
                        f"look at {home}, and whether user {user or 'who runs this'} may write there")
    password.unlink()
    made.rename(home / "data")


def require_entry(folder: Path, user: str) -> None:
    """UserError where another user, who is to run PostgreSQL, cannot reach the folder."""
    if not user:
        return
    for parent in (folder, *folder.parents):
        if not parent.stat().st_mode & 0o001:
            raise UserError(f"PostgreSQL refuses to run as root, and user {user} may not enter {parent}",
                            "run this as another user, or add --folder /var/tmp/stillhouse-services")


def postgres(folder: Path, facts: Facts) -> Server:
    """PostgreSQL on the loopback, without a socket file."""
    data, port = folder / "postgresql" / "data", facts.ports["postgresql"]
    command = (postgres_program("postgres", data), "-D", str(data), "-h", HOST, "-p", str(port),
               "-c", "unix_socket_directories=")
    asking = [postgres_program("pg_isready", data), "--quiet", "--host", HOST, "--port", str(port)]
    return Server("postgresql", command,
                  lambda: subprocess.run(asking, env=shell_environment(), check=False).returncode == 0,
                  ends_by=signal.SIGINT, user=unprivileged())  # fast: clients are disconnected, not waited for


def database_environment(folder: Path, facts: Facts) -> dict[str, str]:
    """How clients of PostgreSQL reach it: no password in an address, so none in a log or a list of processes."""
    return {"PGHOST": HOST, "PGPORT": str(facts.ports["postgresql"]), "PGUSER": OWNER,
            "PGPASSFILE": str(folder / "pgpass")}


def make_databases(folder: Path, facts: Facts) -> None:
    """Write the password file of clients and make the databases that are absent."""
    place = f"{HOST}:{facts.ports['postgresql']}:*:{OWNER}"
    (folder / "pgpass").touch(mode=0o600)  # libpq reads none that others may read
    (folder / "pgpass").write_text(f"{place}:{facts.passwords['postgresql']}\n")
    found = database_client(folder, facts, "psql", "--no-psqlrc", "--dbname=postgres", "--tuples-only", "--no-align",
                            "--command=SELECT datname FROM pg_database").split()
    for name in DATABASES:
        if name not in found:
            database_client(folder, facts, "createdb", name)


def database_client(folder: Path, facts: Facts, name: str, *words: str) -> str:
    """What a client program of PostgreSQL prints, run as the owner; UserError with its own words where it fails.

    The shell may know another PostgreSQL, of which libpq would believe the password before our file. Nobody is asked
    for one: the answer could only be that in our file.
    """
    command = [postgres_program(name, folder / "postgresql" / "data"), "--no-password", *words]
    done = subprocess.run(command, env=shell_environment() | database_environment(folder, facts),
                          capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"PostgreSQL refuses its owner: {done.stderr.strip()[-300:]}",
                        f"read {folder / 'postgresql.log'}; {folder / 'facts.json'} must be that of its first start")
    return done.stdout


def redis(folder: Path, facts: Facts) -> Server:
    """Redis on the loopback, with a password, everything it is told appended to a file."""
    home, port, password = folder / "redis", facts.ports["redis"], facts.passwords["redis"]
    home.mkdir(exist_ok=True)
    lines = [f"bind {HOST}", f"requirepass {password}", f'dir "{home}"', "appendonly yes", "daemonize no", "save 60 1"]
    (folder / "redis.conf").write_text("\n".join(lines) + "\n")
    command = (program("redis-server", "redis-server"), str(folder / "redis.conf"), "--port", str(port))
    return Server("redis", command, lambda: redis_answers(port, password))


def redis_answers(port: int, password: str) -> bool:
    """Whether Redis takes the password and says PONG."""
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            said = b""
            while chunk := connection.recv(64):
                said += chunk
                if said.endswith(b"+PONG\r\n"):
                    return True
            return False
    except OSError:
        return False


def objects(folder: Path, facts: Facts) -> Server:
    """The S3 store of this machine."""
    require("moto", "moto[s3]")
    require("flask_cors", "flask-cors")
    port = facts.ports["objects"]
    command = (sys.executable, "-m", "pipeline.services.objects", str(folder / "objects"), "--port", str(port),
               "--bucket", BUCKET)
    project = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [project, os.environ.get("PYTHONPATH", "")]))
    return Server("objects", command, lambda: http_answers(f"http://{HOST}:{port}/{BUCKET}{READY}"),
                  {"PYTHONPATH": path})


def object_environment(facts: Facts) -> dict[str, str]:
    """How clients reach the S3 store of this machine, which asks nobody for a password."""
    address = f"http://{HOST}:{facts.ports['objects']}"
    return {"AWS_ENDPOINT_URL": address, "MLFLOW_S3_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local", "AWS_DEFAULT_REGION": REGION}


def mlflow(folder: Path, facts: Facts, store: str, auth: bool) -> Server:
    """MLflow's server: runs in PostgreSQL, files through it in the S3 store, hosts and origins named.

    store: s3://BUCKET or s3://BUCKET/PREFIX, reached by this shell's AWS_* variables, or "" for ours.
    """
    require("psycopg2", "psycopg2-binary")
    port = facts.ports["mlflow"]
    hosts = [f"{host}:{port}" for host in (HOST, "localhost")]
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1",
               "--serve-artifacts", "--artifacts-destination", (store or f"s3://{BUCKET}").rstrip("/") + "/mlflow",
               "--allowed-hosts", ",".join(hosts),
               "--cors-allowed-origins", ",".join(f"http://{host}" for host in hosts)]
    environment = database_environment(folder, facts) | {
        "MLFLOW_BACKEND_STORE_URI": "postgresql+psycopg2:///mlflow",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environment |= outer_store() if store else object_environment(facts)
    if auth:
        command += ["--app-name", "basic-auth"]
        environment |= auth_environment(folder, facts)
    return Server("mlflow", tuple(command), lambda: http_answers(f"http://{HOST}:{port}/health"), environment)


def outer_store() -> dict[str, str]:
    """What this shell knows of the S3 store that was named."""
    return {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "MLFLOW_S3_"))}


def auth_environment(folder: Path, facts: Facts) -> dict[str, str]:
    """MLflow's users: an administrator with a password of our making; everybody else is let in by that one."""
    require("flask_wtf", "mlflow[auth]")
    config = folder / "basic_auth.ini"
    config.write_text("[mlflow]\ndefault_permission = NO_PERMISSIONS\n"
                      f"database_uri = postgresql+psycopg2:///{DATABASES[1]}\n"
                      "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
                      "auth_cache_ttl_seconds = 60\n")  # verifying a password takes long, and every request brings it
    return {"MLFLOW_AUTH_CONFIG_PATH": str(config), "MLFLOW_AUTH_ADMIN_USERNAME": OWNER,
            "MLFLOW_AUTH_ADMIN_PASSWORD": facts.passwords["mlflow"],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": facts.passwords["session"]}


def http_answers(url: str) -> bool:
    """Whether a page of the loopback is there."""
    try:
        with direct().open(url, timeout=5) as answer:
            return int(answer.status) == 200
    except (URLError, OSError):
        return False

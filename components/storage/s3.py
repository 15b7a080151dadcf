"""The connection to an S3 server, and its errors in plain words. The only importer of boto3.

Endpoint, credentials, region and certificates come from the environment and the AWS profile, as the AWS tools read
them: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_PROFILE, AWS_REGION, AWS_CA_BUNDLE.
"""

import os
from dataclasses import dataclass
from typing import Any

from components.errors import TryAgain, UserError

SCHEME = "s3://"
STYLE = "STILLHOUSE_S3_STYLE"  # path or virtual; a profile can say it too (s3: addressing_style)
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
CONNECT_SECONDS, READ_SECONDS = 5, 20
CONNECTIONS = 8  # requests at a time

EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"}
UNKNOWN_KEYS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidClientTokenId"}
ELSEWHERE = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"}
PASSING = {"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling", "ThrottlingException",
           "RequestLimitExceeded", "BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "OperationAborted",
           "ConditionalRequestConflict"}


@dataclass(frozen=True)
class Url:
    """A place in a bucket; the prefix has no slash at either end."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, text: str) -> "Url":
        """What `s3://bucket/prefix` names; UserError where it names no bucket.

        >>> Url.parse("s3://models/of/garments/")
        Url(bucket='models', prefix='of/garments')
        """
        bucket, _, prefix = text.removeprefix(SCHEME).partition("/")
        if not text.startswith(SCHEME) or not bucket:
            raise UserError(f"{text} names no bucket", "write it as s3://BUCKET/PREFIX")
        return cls(bucket, prefix.strip("/"))

    def key(self, name: str) -> str:
        """The key of an object by its name below the prefix."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}".rstrip("/")


class Refused(UserError):
    """The server said no; `code` is its word for why."""

    def __init__(self, code: str, cause: str, remedy: str) -> None:
        super().__init__(cause, remedy)
        self.code = code


class Damaged(TryAgain):
    """Bytes came or went otherwise than they should."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause, "run the same command again; if it stays, send that object anew")


def is_url(text: str) -> bool:
    """Whether a setting names a place in a bucket, not a folder."""
    return text.startswith(SCHEME)


def connect() -> Any:
    """A client of S3 as the environment describes it: bounded in time, with one try, and no checksums but ours."""
    import boto3
    import botocore.session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    try:
        profile = (session := botocore.session.get_session()).get_scoped_config()
        elsewhere = {"endpoint_url", "services"} & profile.keys() or any(os.environ.get(name) for name in ENDPOINTS)
        style = os.environ.get(STYLE) or profile.get("s3", {}).get("addressing_style")
        style = style or ("path" if elsewhere else "auto")  # few servers but Amazon's give buckets names of hosts
        config = Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, max_pool_connections=CONNECTIONS,
                        retries={"total_max_attempts": 1}, s3={"addressing_style": style},
                        request_checksum_calculation="when_required", response_checksum_validation="when_required")
        boto = boto3.Session(botocore_session=session)
        return boto.client("s3", boto.region_name or "us-east-1", config=config)
    except (BotoCoreError, ValueError) as error:
        raise UserError(f"the connection to S3 cannot be set up: {error}",
                        f"check {STYLE}, AWS_PROFILE, AWS_CA_BUNDLE and {' or '.join(ENDPOINTS)}") from None


def failures() -> tuple[type[Exception], ...]:
    """What a request may fail with."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    return (BotoCoreError, ClientError, ResponseParserError, Damaged)


def explained(error: Exception, verb: str, place: str, endpoint: str) -> UserError:
    """An error of a request to do something (a verb of RIGHTS) to a place; TryAgain where it may pass."""
    from botocore import exceptions as known
    from botocore.parsers import ResponseParserError

    if isinstance(error, UserError):
        return error
    if isinstance(error, known.ClientError):
        return answered(error.response, verb, place, endpoint)
    if isinstance(error, known.SSLError):
        return UserError(f"{endpoint} shows a certificate that is not trusted: {error}",
                         "name the authority's certificate in AWS_CA_BUNDLE")
    broken = (known.HTTPClientError, known.ConnectionError, known.IncompleteReadError, ResponseParserError)
    if isinstance(error, broken):
        return TryAgain(f"{endpoint} cannot be reached ({type(error).__name__}), to {verb} {place}",
                        f"check {variable()}, then run the same command again")
    keyless = (known.NoCredentialsError, known.PartialCredentialsError, known.SSOError, known.TokenRetrievalError,
               known.CredentialRetrievalError)
    if isinstance(error, keyless):
        return UserError(f"there are no usable credentials for {endpoint}: {error}",
                         "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE (aws sso login)")
    return UserError(f"{place}: {error}", "check the name of the bucket and the AWS_ variables")


def answered(response: dict[str, Any], verb: str, place: str, endpoint: str) -> UserError:
    """What a server's answer means that is no success."""
    told, facts = response.get("Error", {}), response.get("ResponseMetadata", {})
    code, status = str(told.get("Code") or ""), int(facts.get("HTTPStatusCode", 0))
    bucket = f"bucket {Url.parse(place).bucket}"
    if code in PASSING or status in (408, 429) or (status >= 500 and code not in ("NotImplemented", "501")):
        return TryAgain(f"{endpoint} answers {code or status}, to {verb} {place}", "run the same command again later")
    if code in EXPIRED:
        return Refused(code, f"{endpoint} says that the token has expired, to {verb} {place}",
                       "fetch a new one: aws sso login, or set AWS_SESSION_TOKEN and its keys again")
    if code in UNKNOWN_KEYS:
        return Refused(code, f"{endpoint} does not accept the credentials: {code}",
                       "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_PROFILE")
    if code == "RequestTimeTooSkewed":
        return Refused(code, f"{endpoint} says that this machine's clock is wrong", "set the clock (NTP)")
    if code in ELSEWHERE:
        region = told.get("Region") or facts.get("HTTPHeaders", {}).get("x-amz-bucket-region", "")
        return Refused(code, f"{bucket} is in another region", f"set AWS_REGION={region or 'to the one of the bucket'}")
    if code == "NoSuchBucket" or (status == 404 and verb in ("list", "list uploads of")):
        return Refused("NoSuchBucket", f"{bucket} does not exist at {endpoint}",
                       f"create it (aws s3 mb {SCHEME}{Url.parse(place).bucket}), or correct its name or {variable()}")
    if status == 403:
        return Refused(code, f"these credentials may not {verb} {place} ({code})",
                       f"let them: s3:{RIGHTS[verb]} on {bucket}" + (
                           "; without s3:ListBucket, an object that is not there is refused too" * (verb == "read")))
    return Refused(code or str(status), f"{endpoint} answers {code or status}, to {verb} {place}: "
                   f"{told.get('Message', '')}".rstrip(": "), "check the name")


RIGHTS = {"read": "GetObject", "write": "PutObject", "list": "ListBucket", "remove": "DeleteObject",
          "list uploads of": "ListBucketMultipartUploads", "list pieces of": "ListMultipartUploadParts",
          "give up": "AbortMultipartUpload"}


def variable() -> str:
    """The variable that names the endpoint, or the one that would."""
    return next((name for name in ENDPOINTS if os.environ.get(name)), ENDPOINTS[0])

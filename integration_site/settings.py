"""Every setting of the service, read once from the environment or `.env`. CONTRACT section 1 lists them."""

import os
import re
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from warnings import catch_warnings

import environ
import environ.fileaware_mapping
from django.core.exceptions import ImproperlyConfigured

from integration_site import __version__
from integration_site.backoffice_settings import UNFOLD as UNFOLD
from webhooks.configs import PREFIX as _PREFIX

BASE_DIR = Path(__file__).resolve().parent.parent


class _Variables(environ.fileaware_mapping.FileAwareMapping):
    """Reads NAME from the file named by NAME_FILE, as container platforms mount secrets. Most files end in a newline,
    which is no part of the value."""

    def __getitem__(self, name: str) -> str:
        value: str = super().__getitem__(name)
        return value.strip() if self.env.get(f"{name}_FILE") else value


class _Env(environ.FileAwareEnv):
    ENVIRON = _Variables()

    def get_value(self, var: str, cast: Any = None, *args: Any, **options: Any) -> Any:
        """Raises ImproperlyConfigured where it cannot be read, instead of an error that names no setting."""
        try:
            return super().get_value(var, cast, *args, **options)
        except OSError as error:
            path = os.environ.get(f"{var}_FILE")
            words = f"{var}_FILE is {path}, which cannot be read ({error.strerror}). Name a file that holds {var}."
        except UnicodeError:
            words = f"{var} is not UTF-8 text. Write it anew."
        except ValueError:
            words = f"{var} is {os.environ.get(var)!r}. Write a number."
        raise ImproperlyConfigured(words)


env = _Env()
if os.environ.get("ORDERBRIDGE_ENV_FILE", ".env"):
    env.read_env(BASE_DIR / os.environ.get("ORDERBRIDGE_ENV_FILE", ".env"))


def _secrets(name: str) -> list[str]:
    """A comma-separated list of secrets; empty entries never count as a secret."""
    return [one.strip() for one in env.str(name, default="").split(",") if one.strip()]


DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="")
if not SECRET_KEY:
    if not DEBUG:
        raise ImproperlyConfigured(
            "SECRET_KEY is not set. Put SECRET_KEY=<50 random characters> into .env (or SECRET_KEY_FILE=<path>), or "
            "DEBUG=true for a first look on your own machine. `make run` makes one for you."
        )
    SECRET_KEY = "django-insecure-only-for-debug"  # noqa: S105  used with DEBUG=true only

PUBLIC_URL = env.str("PUBLIC_URL", default="http://127.0.0.1:8000").rstrip("/")
_public = urlsplit(PUBLIC_URL)
_https = _public.scheme == "https"
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[f"{_public.scheme}://{_public.netloc}"])

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.simple_history",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "simple_history",
    "csp",
    "axes",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
    "webhooks",
    "orders",
    "sync",
    "integration_site",
    "django_q",  # after sync, whose `qcluster` takes the place of its own
]
MIDDLEWARE = [
    # Of a delivery, the others see nothing (docs/decisions/0015).
    "integration_site.shortcut.deliveries_first",
    # Around all that may refuse a request: an error page needs their headers, too.
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "simple_history.middleware.HistoryRequestMiddleware",
    "axes.middleware.AxesMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "integration_site.accounts.second_factor_first",
    "webhooks.reveal.hide_what_sides_said",
]
ROOT_URLCONF = "integration_site.urls"
WSGI_APPLICATION = "integration_site.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "integration_site.accounts.back_office",
            ]
        },
    }
]
# A redirect loses a WooCommerce delivery for ever and looks like a success to it (FACTS A6).
APPEND_SLASH = False

# --- database ------------------------------------------------------------------------------------------------------

# A SQLite file holds customers' data and is made as the umask says: none of our files is for others to read.
os.umask(0o077)
_db: dict[str, Any] = {}
with suppress(ValueError), catch_warnings(action="ignore"):  # which show the address, and with it the password
    _db = env.db_url("DATABASE_URL", default=f"sqlite:///{BASE_DIR / 'db.sqlite3'}")
if _db.get("ENGINE") not in ("django.db.backends.sqlite3", "django.db.backends.postgresql"):
    raise ImproperlyConfigured(
        "DATABASE_URL is no address of a database that we know. Write sqlite:///FILE or postgres://USER:PASSWORD@HOST/NAME."
    )
DATABASES: dict[str, dict[str, Any]] = {"default": _db}
# Opening a connection for each request costs most of the throughput on PostgreSQL (docs/decisions/0004).
_db["CONN_MAX_AGE"] = 600
_db["CONN_HEALTH_CHECKS"] = True
if "sqlite" in _db["ENGINE"]:
    if not Path(str(_db["NAME"])).is_absolute() and _db["NAME"] != ":memory:":
        _db["NAME"] = str(BASE_DIR / _db["NAME"])
    _db["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        # FULL: a delivery that was answered 200 survives a power cut, too.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-20000;",
    }
elif not _db.get("DISABLE_SERVER_SIDE_CURSORS"):
    # The INSERT of a delivery is planned once per connection (docs/decisions/0015). Behind a pooler none is ours.
    _db.setdefault("OPTIONS", {}).setdefault("prepare_threshold", 5)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- queue ---------------------------------------------------------------------------------------------------------

QUEUE_BROKER = env.str("QUEUE_BROKER", default="orm")
QUEUE_WORKERS = env.int("QUEUE_WORKERS", default=2)
QUEUE_THREADS = env.int("QUEUE_THREADS", default=10)
# Why each of these: docs/decisions/0002. Our table is the queue; a task is only a wake-up.
Q_CLUSTER: dict[str, Any] = {
    "name": "orderbridge",
    "workers": QUEUE_WORKERS,
    "timeout": 120,
    "retry": 180,
    "max_attempts": 1,
    "ack_failures": True,
    "save_limit": -1,
    "poll": 0.04,
    "bulk": 1,
    "queue_limit": QUEUE_WORKERS,
    "catch_up": False,
    "recycle": 1000,
    "max_rss": 400_000,
    "log_level": "WARNING",
}
if QUEUE_BROKER == "orm":
    Q_CLUSTER |= {"orm": "default", "broker_class": "sync.queue.allowed.OrmBroker"}
elif QUEUE_BROKER.startswith(("redis://", "rediss://", "unix://")):
    Q_CLUSTER |= {"redis": QUEUE_BROKER, "broker_class": "sync.queue.allowed.RedisBroker"}
else:
    raise ImproperlyConfigured(f"QUEUE_BROKER is {QUEUE_BROKER!r}: use 'orm' or a redis:// address.")

# --- the two sides -------------------------------------------------------------------------------------------------

WOO_URL = env.str("WOO_URL", default="").rstrip("/")
WOO_OTHER_URLS = env.list("WOO_OTHER_URLS", default=[])
WOO_CONSUMER_KEY = env.str("WOO_CONSUMER_KEY", default="")
WOO_CONSUMER_SECRET = env.str("WOO_CONSUMER_SECRET", default="")
WOO_BASIC_AUTH = env.str("WOO_BASIC_AUTH", default="")
WOO_WEBHOOK_SECRETS = _secrets("WOO_WEBHOOK_SECRETS")

EXTERNAL_ID_PREFIX = env.str("EXTERNAL_ID_PREFIX", default="")
if not re.fullmatch(_PREFIX, EXTERNAL_ID_PREFIX):
    raise ImproperlyConfigured(
        f"EXTERNAL_ID_PREFIX is {EXTERNAL_ID_PREFIX!r}: use at most 20 of A-Z a-z 0-9 . _ : / # -, and no digit at the "
        "end, where the order's number follows; as in EXTERNAL_ID_PREFIX=shop-b-"
    )
SHOP_WRITE_LAG = env.float("SHOP_WRITE_LAG", default=30.0)

CRM_BACKEND = env.str("CRM_BACKEND", default="rest")
CRM_URL = env.str("CRM_URL", default="").rstrip("/")
CRM_TOKEN = env.str("CRM_TOKEN", default="")
CRM_WEBHOOK_SECRETS = _secrets("CRM_WEBHOOK_SECRETS")
CRM_SIGNATURE = env.str("CRM_SIGNATURE", default="standard-webhooks")
CRM_SIGNATURE_HEADER = env.str("CRM_SIGNATURE_HEADER", default="X-CRM-Signature")
CRM_LIST_LAG = env.float("CRM_LIST_LAG", default=10.0)
CRM_POLL_SECONDS = env.int("CRM_POLL_SECONDS", default=0)
# What a backend wants to know besides, by the names of its own settings: CRM_DATABASE is its `database`.
_crm = {name.removesuffix("_FILE") for name in os.environ if re.fullmatch(r"CRM_[A-Z_]*[A-Z]", name)}
CRM_OPTIONS = {name.removeprefix("CRM_").lower(): env.str(name) for name in _crm if name not in globals()}
META_IGNORED = env.list("META_IGNORED", default=["_edit_lock", "_edit_last"])

ALLOW_PRIVATE_ADDRESSES = env.bool("ALLOW_PRIVATE_ADDRESSES", default=False)
SANDBOX_URLS = env.list("SANDBOX_URLS", default=[])
CA_BUNDLE = env.str("CA_BUNDLE", default="")
VERIFY = env.str("VERIFY", default="always")
HTTP_TIMEOUT = env.float("HTTP_TIMEOUT", default=10.0)
RETRY_MAX_ATTEMPTS = env.int("RETRY_MAX_ATTEMPTS", default=12)
RETRY_BASE_SECONDS = env.float("RETRY_BASE_SECONDS", default=5.0)
RETRY_MAX_SECONDS = env.float("RETRY_MAX_SECONDS", default=21600.0)
BREAKER_THRESHOLD = env.int("BREAKER_THRESHOLD", default=3)
LOOP_MAX_CHANGES = env.int("LOOP_MAX_CHANGES", default=20)
LOOP_WINDOW_SECONDS = env.int("LOOP_WINDOW_SECONDS", default=300)
MAX_BODY_BYTES = env.int("MAX_BODY_BYTES", default=1_048_576)
REFUSED_KEEP = env.int("REFUSED_KEEP", default=1000)
RETENTION_DAYS = env.int("RETENTION_DAYS", default=90)
ROWS_RETENTION_DAYS = env.int("ROWS_RETENTION_DAYS", default=max(365, RETENTION_DAYS))
AUDIT_KEYS = _secrets("AUDIT_KEYS")
CREDENTIAL_KEYS = _secrets("CREDENTIAL_KEYS")
RECONCILE_MINUTES = env.int("RECONCILE_MINUTES", default=5)
RECONCILE_DAYS = env.int("RECONCILE_DAYS", default=7)
LIST_MAX_PAGES = env.int("LIST_MAX_PAGES", default=10_000)
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
OTEL_EXPORTER_OTLP_ENDPOINT = env.str("OTEL_EXPORTER_OTLP_ENDPOINT", default="").rstrip("/")
OTEL_SERVICE_NAME = env.str("OTEL_SERVICE_NAME", default="orderbridge")

# --- alarms, and who hears of them ---------------------------------------------------------------------------------

NOTIFY_URLS = _secrets("NOTIFY_URLS")
NOTIFY_PER_HOUR = env.int("NOTIFY_PER_HOUR", default=5)
NOTIFY_PER_DAY = env.int("NOTIFY_PER_DAY", default=15)
NOTIFY_REMIND_HOURS = env.int("NOTIFY_REMIND_HOURS", default=4)
ALARM_TODO_HOURS = env.int("ALARM_TODO_HOURS", default=24)
ALARM_URGENT_HOURS = env.int("ALARM_URGENT_HOURS", default=1)
ALARM_AWAY_MINUTES = env.int("ALARM_AWAY_MINUTES", default=15)
ALARM_PAUSED_HOURS = env.int("ALARM_PAUSED_HOURS", default=24)
ALARM_DISK_FREE_PERCENT = env.int("ALARM_DISK_FREE_PERCENT", default=10)
ALARM_DATABASE_GB = env.int("ALARM_DATABASE_GB", default=20)

_mail: dict[str, Any] = {}
if _mail_url := env.str("EMAIL_URL", default=""):
    try:
        _mail = env.email_url_config(_mail_url)
    except (ImproperlyConfigured, ValueError):  # which quote it, and with it the password
        raise ImproperlyConfigured(
            "EMAIL_URL is no address of a mail server. Write smtp+tls://USER:PASSWORD@HOST:587, smtp+ssl://… with port "
            "465, or smtp://HOST:25; characters such as @ and / of the password as %40 and %2F."
        ) from None
EMAIL_BACKEND = _mail.get("EMAIL_BACKEND", "django.core.mail.backends.smtp.EmailBackend")
EMAIL_HOST = _mail.get("EMAIL_HOST") or ""
EMAIL_USE_TLS, EMAIL_USE_SSL = bool(_mail.get("EMAIL_USE_TLS")), bool(_mail.get("EMAIL_USE_SSL"))
EMAIL_PORT = _mail.get("EMAIL_PORT") or (587 if EMAIL_USE_TLS else 465 if EMAIL_USE_SSL else 25)
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _mail.get("EMAIL_HOST_USER") or "", _mail.get("EMAIL_HOST_PASSWORD") or ""
EMAIL_FILE_PATH = _mail.get("EMAIL_FILE_PATH") or None
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.str("EMAIL_FROM", default="") or EMAIL_HOST_USER or f"orderbridge@{_public.hostname}"

# --- web -----------------------------------------------------------------------------------------------------------

# The receiver reads and bounds its bodies itself (MAX_BODY_BYTES, also for chunked ones).
DATA_UPLOAD_MAX_MEMORY_SIZE = max(MAX_BODY_BYTES, 2_621_440)
SECURE_SSL_REDIRECT = _https
SECURE_REDIRECT_EXEMPT = [r"^webhooks/", r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _https else None
SECURE_HSTS_SECONDS = 31_536_000 if _https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = False
# Other hosts of the domain, and browsers' lists of whole domains, are not this service's to decide.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
SESSION_COOKIE_NAME = "orderbridge_session"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
# A working day, and not longer than the browser stays open.
SESSION_COOKIE_AGE = 12 * 3600
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
# Why 'unsafe-eval' and inline styles: docs/security.md.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'", "'unsafe-eval'"],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}

# --- signing in ----------------------------------------------------------------------------------------------------

AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", default=0)
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
# Whoever goes on knocking must not keep the person out for ever.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_CLIENT_IP_CALLABLE = "integration_site.sign_in.client_address"
AXES_USERNAME_CALLABLE = "integration_site.sign_in.remembered_name"
AXES_SENSITIVE_PARAMETERS = ["username", "next"]
AXES_LOCKOUT_CALLABLE = "integration_site.sign_in.locked_out"
AXES_ENABLE_ADMIN = False
AXES_DISABLE_ACCESS_LOG = True
AXES_VERBOSE = False
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
# What comes behind the password, or in its place (docs/sign-in.md).
ACCOUNT_ADAPTER = "integration_site.accounts.AccountAdapter"
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
ACCOUNT_DEFAULT_HTTP_PROTOCOL = _public.scheme
MFA_ADAPTER = "integration_site.accounts.MfaAdapter"
MFA_FORMS = {
    "authenticate": "integration_site.accounts.SecondFactorForm",
    "reauthenticate": "integration_site.accounts.SecondFactorAgainForm",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not _https  # browsers allow it for http://localhost alone
MFA_TOTP_TOLERANCE = 1
MFA_REQUIRED_ROLES = env.list("MFA_REQUIRED_ROLES", default=[])
OIDC_URL = env.str("OIDC_URL", default="").rstrip("/")
OIDC_CLIENT_ID = env.str("OIDC_CLIENT_ID", default="")
OIDC_CLIENT_SECRET = env.str("OIDC_CLIENT_SECRET", default="")
OIDC_NAME = env.str("OIDC_NAME", default="Company account")
OIDC_GROUPS_CLAIM = env.str("OIDC_GROUPS_CLAIM", default="groups")
_groups = [one.rpartition("=") for one in env.list("OIDC_ROLES", default=[])]
if any(not (group and role) for group, _, role in _groups):
    raise ImproperlyConfigured(
        "OIDC_ROLES is not understood. Write GROUP=ROLE, separated by commas, as in "
        "OIDC_ROLES=shop-team=operator,it=superuser"
    )
OIDC_ROLES = {group.strip(): role.strip() for group, _, role in _groups}
SOCIALACCOUNT_ADAPTER = "integration_site.company.CompanyAdapter"
SOCIALACCOUNT_PROVIDERS = {
    "openid_connect": {
        "OAUTH_PKCE_ENABLED": True,
        "provider_class": "integration_site.company.CompanyProvider",
        "APPS": [
            {
                "provider_id": "company",
                "name": OIDC_NAME,
                "client_id": OIDC_CLIENT_ID,
                "secret": OIDC_CLIENT_SECRET,
                "settings": {"server_url": OIDC_URL},
            }
        ],
    }
}
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_PARSER_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Orderbridge",
    "DESCRIPTION": "Where a WooCommerce shop and a CRM tell what happened. A delivery is stored before it is answered.",
    "VERSION": __version__,
    "PREPROCESSING_HOOKS": ["webhooks.openapi.documented"],
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
}
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
FORMAT_MODULE_PATH = ["integration_site.formats"]
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
# The container image has them collected and compressed; elsewhere they are served from where they are installed.
WHITENOISE_USE_FINDERS = os.environ.get("ORDERBRIDGE_STATIC_FILES") != "collected"

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "integration_site.logs.formatter"}},
    # stderr: what a command prints, above all its --json, stays alone on stdout.
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "orderbridge": {"level": env.str("LOG_LEVEL", default="INFO")},
        "django.server": {"handlers": [], "propagate": False},
        # Its warnings quote whole addresses, signatures included; our own line tells of each call.
        "urllib3": {"level": "ERROR"},
        # It quotes whole addresses with their tokens; our own line tells of each message.
        "apprise": {"handlers": [], "propagate": False},
        # Strangers may call us by any name; a traceback for each would let them fill the disk.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
    },
}

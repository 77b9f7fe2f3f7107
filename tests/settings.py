"""The settings of the tests: those of production, with known secrets and no `.env`."""

import os

os.environ["ORDERBRIDGE_ENV_FILE"] = ""
os.environ.setdefault("SECRET_KEY", "tests-only-" + "x" * 40)
os.environ.setdefault("WOO_WEBHOOK_SECRETS", "lab-webhook-secret")
os.environ.setdefault("CRM_WEBHOOK_SECRETS", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
os.environ.setdefault("WOO_URL", "http://127.0.0.1:1")
os.environ.setdefault("WOO_CONSUMER_KEY", "ck_test")
os.environ.setdefault("WOO_CONSUMER_SECRET", "cs_test")
os.environ.setdefault("CRM_URL", "http://127.0.0.1:1")
os.environ.setdefault("CRM_TOKEN", "crm-token")

from integration_site.settings import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "tests"]  # noqa: F405  its flush may empty what is append-only
WHITENOISE_AUTOREFRESH = True  # each test client loads the middleware, which would look for all files of ours first
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # a real one takes a third of a second a person

# What a test stores need not survive a power cut; a commit that waits for the disk takes longer than most tests.
if "init_command" in (_options := DATABASES["default"].get("OPTIONS", {})):  # noqa: F405
    _options["init_command"] = _options["init_command"].replace("synchronous=FULL", "synchronous=OFF")

# Threads see no rows of a test's open transaction; a test of them asks for them.
QUEUE_THREADS = 1

# What a cluster waits before it takes a worker for stalled, and for one that does not end. A test of processes gives
# its own with DJANGO_SETTINGS_MODULE=tests.settings.
CLUSTER_STALLED_SECONDS = CLUSTER_LEAVE_SECONDS = float(os.environ.get("TESTS_CLUSTER_SECONDS", "10"))

# How long a round of notifications waits for those that hang.
NOTIFY_SECONDS = float(os.environ.get("TESTS_NOTIFY_SECONDS", "20"))

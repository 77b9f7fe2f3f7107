"""Make the database that the tests and `make run CRM=tryton` begin with: run by the Python of `.venv-tryton`.

    .venv-tryton/bin/python scripts/tryton.py FOLDER

In FOLDER stands then `crm.sqlite`, of which each takes a copy. `make tryton` runs it, and nobody else.
"""

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

from proteus import Model, config
from trytond.modules.account.tests.tools import create_chart, create_tax, get_accounts
from trytond.modules.company.tests.tools import create_company, get_company
from trytond.modules.currency.tests.tools import get_currency

MODULES = ("sale", "party", "product", "account", "country", "currency", "company", "stock")
GROUPS = ("Sales", "Party Administration")
"""Of the user that the key belongs to: what docs/crms/tryton.md asks for, and no more."""


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    conf, secret = folder / "trytond.conf", folder / "password"
    conf.write_text(f"[database]\nuri=sqlite://\npath={folder}\n")
    secret.write_text("only-for-tests-1")
    (folder / "crm.sqlite").unlink(missing_ok=True)
    (folder / "crm.sqlite").touch()
    admin = [str(Path(sys.executable).parent / "trytond-admin"), "-c", str(conf), "-d", "crm"]
    environment = {**os.environ, "TRYTONPASSFILE": str(secret)}
    subprocess.run([*admin, "--all", "--email", "a@example.test", "-p"], env=environment, check=True)  # noqa: S603
    subprocess.run([*admin, "-u", *MODULES, "--activate-dependencies"], env=environment, check=True)  # noqa: S603
    config.set_trytond("crm", user="admin", config_file=str(conf))
    fill(folder)


def fill(folder: Path) -> None:
    country = Model.get("country.country")
    for code, name in (("DE", "Germany"), ("AT", "Austria"), ("SE", "Sweden")):
        country(code=code, name=name).save()
    yen = get_currency("JPY")
    yen.digits, yen.rounding = 0, Decimal(1)
    yen.save()
    create_company(currency=get_currency("EUR"))
    company = get_company()
    create_chart(company)
    for rate in ("0.19", "0.07"):
        create_tax(Decimal(rate)).save()
    category = Model.get("product.category")(name="Goods", accounting=True)
    category.account_revenue = get_accounts(company)["revenue"]
    category.save()
    [unit] = Model.get("product.uom").find([("name", "=", "Unit")])
    template = Model.get("product.template")(name="Labelled pot", default_uom=unit, type="goods", salable=True)
    template.list_price, template.account_category = Decimal(10), category
    template.products[0].suffix_code = "LAB-1"
    template.save()
    users = {"sales": GROUPS, "clerk": (*GROUPS, "Sales Administrator"), "nobody": ()}
    for name, groups in users.items():
        add_user(name, groups, company)


def add_user(name: str, groups: tuple[str, ...], company: Model) -> None:
    """With a key that `sync/sandbox/crms/tryton.py` knows: the server is on loopback and has nothing to hide."""
    user = Model.get("res.user")(name=name, login=name)
    for group in groups:
        user.groups.extend(Model.get("res.group").find([("name", "=", group)]))
    user.companies.append(Model.get("company.company")(company.id))
    user.company = user.companies[0]
    user.save()
    application = Model.get("res.user.application")(user=user, application="rest", state="validated")
    application.key = f"tryton-sandbox-key-of-{name}"
    application.save()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())

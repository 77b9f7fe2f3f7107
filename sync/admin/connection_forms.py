"""The forms in which a person enters addresses and keys. What is secret is never sent back to the browser."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django import forms
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from orders.asking import ReasonForm
from sync.clients.crm.schema import OF_EACH, WEBHOOK_SECRETS, SettingField
from sync.clients.shop_address import NoShop, ensure_scheme, tidy
from sync.monitoring.connecting import known_shop
from webhooks import credentials
from webhooks.connections import Connection

KEPT = "Leave it empty to keep what is stored."
ELSEWHERE = "The address leads to another server. Enter it again: what is stored is not sent there."
LONGEST = 2000


class Secret(forms.CharField):
    """Browsers must not fill in what they know of other pages, nor is what was typed shown again."""

    def __init__(self, **options: Any) -> None:
        widget = UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}, render_value=False)
        super().__init__(widget=widget, max_length=LONGEST, **options)

    def clean(self, value: Any) -> str:
        text: str = super().clean(value)
        if not text.isprintable() or not text.isascii():
            raise forms.ValidationError("There is a character in it that cannot be sent. Copy it again.")
        return text


def text(label: str, help_text: str, *, longest: int = LONGEST, **options: Any) -> forms.CharField:
    return forms.CharField(
        label=label, help_text=help_text, max_length=longest, widget=UnfoldAdminTextInputWidget, **options
    )


class ShopAddressForm(forms.Form):
    name = text("Name", "What you call this shop here, as in Shop Germany", longest=80)
    url = text("Address of the shop", "As customers type it: https://shop.example")

    def clean_url(self) -> str:
        """Not asked here whether it is a shop: a form makes no call."""
        try:
            url = tidy(self.cleaned_data["url"])
            ensure_scheme(url)
        except NoShop as error:
            raise forms.ValidationError(str(error)) from error
        if known := known_shop(url):
            gone, keys = (", and archived", " New keys bring it back.") if known.archived_at else ("", "")
            raise forms.ValidationError(
                f"This shop is there already{gone}: {known}. Open it in the list of shops.{keys}"
            )
        return url


class KeysForm(forms.Form):
    consumer_key = Secret(
        label="Consumer key",
        help_text="Made in WooCommerce under Settings → Advanced → REST API, with Read/Write. Begins with ck_",
    )
    consumer_secret = Secret(
        label="Consumer secret", help_text="Shown there once, when the key is made. Begins with cs_"
    )
    basic_auth = Secret(
        label="User and password of the server",
        required=False,
        help_text="Only if a server in front of the shop asks for them, as many staging shops do: user:password",
    )

    def clean_basic_auth(self) -> str:
        given: str = self.cleaned_data["basic_auth"]
        user, _, password = given.partition(":")
        if given and not (user and password):
            raise forms.ValidationError("Write user:password.")
        return given

    def keys(self) -> dict[str, str]:
        return {name: self.cleaned_data[name] for name in KeysForm.base_fields if self.cleaned_data.get(name)}


class ShopKeysForm(KeysForm, ShopAddressForm):
    field_order = ("name", "url", "consumer_key", "consumer_secret", "basic_auth")


class NewKeysForm(ReasonForm, KeysForm):
    field_order = ("consumer_key", "consumer_secret", "basic_auth", "reason")


class OtherAddressesForm(ReasonForm):
    other_urls = text(
        "Other addresses of this shop",
        "Separated by commas. Deliveries that name another one are taken for those of a copy, and wait for a person. "
        "What WordPress itself gives as its address is known already",
        required=False,
    )
    field_order = ("other_urls", "reason")

    def clean_other_urls(self) -> list[str]:
        try:
            return [tidy(one) for one in self.cleaned_data["other_urls"].split(",") if one.strip()]
        except NoShop as error:
            raise forms.ValidationError(str(error)) from error


class CrmForm(forms.Form):
    """One field for each setting of the backend's schema."""

    def __init__(
        self, schema: Sequence[SettingField], *args: Any, connection: Connection | None = None, **more: Any
    ) -> None:
        super().__init__(*args, **more)
        self.schema = (*schema, *OF_EACH)
        if connection is None:
            self.fields["name"] = text("Name", "What you call this CRM here", longest=80)
        for one in self.schema:
            self.fields[one.name] = _field(one, stored=connection is not None)
            if connection is not None and not one.secret:
                self.fields[one.name].initial = connection.settings.get(one.name, one.default)

    def clean_url(self) -> str:
        try:
            url = tidy(self.cleaned_data["url"])
            ensure_scheme(url)
        except NoShop as error:
            raise forms.ValidationError(str(error)) from error
        return url

    def values(self) -> dict[str, str]:
        """Without secrets that were left empty."""
        said = {one.name: self.cleaned_data[one.name] for one in self.schema if one.name in self.cleaned_data}
        given = {name: "" if value is None else str(value) for name, value in said.items()}
        return {one.name: given[one.name] for one in self.schema if given[one.name] or not one.secret}


class EditCrmForm(CrmForm):
    def __init__(self, *args: Any, connection: Connection, **more: Any) -> None:
        super().__init__(*args, connection=connection, **more)
        self.connection = connection
        self.fields["reason"] = ReasonForm.base_fields["reason"]

    def clean(self) -> dict[str, Any]:
        """What is stored goes to no other server: whoever may enter keys may not see those of others."""
        said: dict[str, Any] = super().clean() or {}
        if "url" in said and _server(said["url"]) != _server(self.connection.settings.get("url", "")):
            known = credentials.decrypt(self.connection.credentials)
            sent = (one.name for one in self.schema if one.secret and one.name != WEBHOOK_SECRETS.name)
            for name in sent:
                if known.get(name) and not said.get(name):
                    self.add_error(name, ELSEWHERE)
        return said


def _server(url: str) -> tuple[str, str]:
    return urlsplit(url)[:2]


def _field(one: SettingField, *, stored: bool) -> forms.Field:
    if one.secret:
        help_text = f"{one.help}. {KEPT}" if stored else one.help
        return Secret(label=one.label, help_text=help_text, required=one.required and not stored)
    if one.choices:
        choices = [(choice, choice) for choice in one.choices]
        widget = UnfoldAdminSelectWidget(choices=choices)
        return forms.ChoiceField(
            label=one.label, help_text=one.help, choices=choices, initial=one.default, widget=widget
        )
    if one.least is not None:
        widget = UnfoldAdminIntegerFieldWidget()
        return forms.IntegerField(
            label=one.label, help_text=one.help, min_value=one.least, required=one.required, widget=widget
        )
    return text(one.label, one.help, required=one.required and not one.default, initial=one.default)

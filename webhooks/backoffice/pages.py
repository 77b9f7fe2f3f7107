"""Our pages beside Django's own: how one is shown, and where a row and a list have theirs."""

from typing import Any

from django.db.models import Model
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin


def page(owner: ModelAdmin, request: HttpRequest, template: str, title: str, **context: Any) -> TemplateResponse:
    """In the frame of the back office. `original`: the row that it is about, for the way back above the page."""
    frame = {**owner.admin_site.each_context(request), "opts": owner.opts, "title": title}
    return TemplateResponse(request, template, {**frame, **context})


def page_of(row: Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def list_of(owner: ModelAdmin) -> str:
    return reverse(f"admin:{owner.opts.app_label}_{owner.opts.model_name}_changelist")


def text_link(url: str, words: object) -> SafeString:
    return format_html('<a class="text-link" href="{}">{}</a>', url, words)

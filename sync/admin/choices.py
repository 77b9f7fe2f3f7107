"""The customers that people have chosen, where several of the CRM fitted: listed, changed, forgotten."""

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextInputWidget

from orders import audit
from orders.asking import ReasonForm, ask_reason
from sync.admin.choosing import shown
from sync.models import RememberedChoice
from webhooks import clock
from webhooks.backoffice.display import time_column
from webhooks.backoffice.lists import ReadOnlyAdmin, may
from webhooks.backoffice.pages import list_of, page_of, text_link
from webhooks.backoffice.paging import EstimatingPaginator, ExactSearch
from webhooks.customers import hashes_of
from webhooks.masking import masked

KEPT = "Orders that are in the CRM already keep their customer."


class AnotherForm(ReasonForm):
    crm_id = forms.CharField(
        label="Id in the CRM", max_length=64, widget=UnfoldAdminTextInputWidget, help_text="As the CRM names her"
    )
    field_order = ("crm_id", "reason")


@admin.register(RememberedChoice)
class RememberedChoiceAdmin(ExactSearch, ReadOnlyAdmin):
    paginator = EstimatingPaginator
    list_display = ("id", "chosen_one", "connection", "asked_by", "chosen_by", "at")
    list_display_links = ("id", "chosen_one")
    list_select_related = ("connection",)
    list_filter = (("connection", RelatedDropdownFilter),)
    fields = ("chosen_one", "connection", "asked_by", "chosen_by", "at")
    search_fields = ("crm_id",)
    search_help_text = "A whole e-mail address or phone number, or the customer's exact id in the CRM"
    actions_detail = ("change_choice", "forget")
    has_choose_permission = may("sync.choose_customer")

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).select_related("event").defer("event__body", "event__headers")

    def named(self, rows: QuerySet, term: str) -> QuerySet:
        return rows.filter(crm_id=term) | rows.filter(key__in=hashes_of(term))

    @admin.display(description="Id in the CRM", ordering="crm_id")
    def chosen_one(self, choice: RememberedChoice) -> str:
        return str(masked(choice.crm_id, "id")) if choice.crm_id else "a new one"

    @admin.display(description="First asked by")
    def asked_by(self, choice: RememberedChoice) -> str:
        return text_link(page_of(choice.event), f"order {choice.event.order_ref}")

    at = time_column("chosen_at", "Chosen", ordering="chosen_at")

    @action(description="Choose another…", permissions=["choose"], url_path="change-choice", icon="group")
    def change_choice(self, request: HttpRequest, object_id: str) -> HttpResponse:
        choice = get_object_or_404(RememberedChoice, pk=object_id)
        was = shown(choice.what, choice.crm_id)

        def perform(said: dict[str, str]) -> str:
            crm_id = said["crm_id"].strip()
            changed = {"crm_id": crm_id, "chosen_by": said["by"], "chosen_at": clock.now()}
            RememberedChoice.objects.filter(pk=choice.pk).update(**changed)
            now = shown(choice.what, crm_id)
            _record("change chosen customer", choice, said, f"{was} → {now} of {choice.connection}")
            return f"From now on it is {now}."

        return ask_reason(
            self,
            request,
            choice,
            title=f"Choose another: {was}",
            words=f"It is {was}. {KEPT} Orders to come get the other one.",
            button="Choose another",
            perform=perform,
            form_class=AnotherForm,
        )

    @action(description="Forget…", permissions=["choose"], url_path="forget", icon="delete")
    def forget(self, request: HttpRequest, object_id: str) -> HttpResponse:
        choice = get_object_or_404(RememberedChoice, pk=object_id)
        was = shown(choice.what, choice.crm_id)

        def perform(said: dict[str, str]) -> str:
            _record("forget chosen customer", choice, said, f"{was} of {choice.connection}")
            RememberedChoice.objects.filter(pk=choice.pk).delete()
            return "It is forgotten."

        return ask_reason(
            self,
            request,
            choice,
            title=f"Forget: {was}",
            words=f"The next order of which several customers fit asks again. {KEPT}",
            button="Forget",
            back=list_of(self) if request.method == "POST" else "",
            perform=perform,
        )


def _record(did: str, choice: RememberedChoice, said: dict[str, str], result: str) -> None:
    audit.record(did, actor=said["by"], reason=said["reason"], event=choice.event, result=result)

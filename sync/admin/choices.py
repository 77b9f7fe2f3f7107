"""The customers that people have chosen, where several of the CRM fitted: listed, changed, forgotten."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.html import format_html
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextInputWidget

from orders import audit
from orders.asking import ReasonForm, ask_reason
from sync.admin.choosing import shown
from sync.models import RememberedChoice
from webhooks import clock
from webhooks.backoffice.display import ago
from webhooks.backoffice.lists import ReadOnlyAdmin
from webhooks.backoffice.paging import EstimatingPaginator
from webhooks.customers import hashes_of
from webhooks.masking import masked

KEPT = "Orders that are in the CRM already keep their customer."


class AnotherForm(ReasonForm):
    crm_id = forms.CharField(
        label="Id in the CRM", max_length=64, widget=UnfoldAdminTextInputWidget, help_text="As the CRM names her"
    )
    field_order = ("crm_id", "reason")


@admin.register(RememberedChoice)
class RememberedChoiceAdmin(ReadOnlyAdmin):
    paginator = EstimatingPaginator
    list_display = ("id", "chosen_one", "connection", "asked_by", "chosen_by", "at")
    list_display_links = ("id", "chosen_one")
    list_select_related = ("connection",)
    list_filter = (("connection", RelatedDropdownFilter),)
    fields = ("chosen_one", "connection", "asked_by", "chosen_by", "at")
    search_fields = ("crm_id",)
    search_help_text = "A whole e-mail address or phone number, or the customer's exact id in the CRM"
    actions_detail = ("change_choice", "forget")

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).select_related("event").defer("event__body", "event__headers")

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        return queryset.filter(crm_id=term) | queryset.filter(key__in=hashes_of(term)), False

    def has_choose_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("sync.choose_customer") and self.has_view_permission(request)

    @admin.display(description="Id in the CRM", ordering="crm_id")
    def chosen_one(self, choice: RememberedChoice) -> str:
        return str(masked(choice.crm_id, "id")) if choice.crm_id else "a new one"

    @admin.display(description="First asked by")
    def asked_by(self, choice: RememberedChoice) -> str:
        url = reverse("admin:webhooks_webhookevent_change", args=[choice.event_id])
        return format_html('<a class="text-link" href="{}">order {}</a>', url, choice.event.order_ref)

    @admin.display(description="Chosen", ordering="chosen_at")
    def at(self, choice: RememberedChoice) -> str:
        return ago(choice.chosen_at)

    @action(description="Choose another…", permissions=["choose"], url_path="change-choice", icon="group")
    def change_choice(self, request: HttpRequest, object_id: str) -> HttpResponse:
        choice = get_object_or_404(RememberedChoice, pk=object_id)

        def perform(said: dict[str, str]) -> str:
            by, crm_id = request.user.get_username(), said["crm_id"].strip()
            changed = {"crm_id": crm_id, "chosen_by": by, "chosen_at": clock.now()}
            RememberedChoice.objects.filter(pk=choice.pk).update(**changed)
            now = shown(choice.what, crm_id)
            self._recorded("change chosen customer", choice, by, said, f"{was} → {now} of {choice.connection}")
            return f"From now on it is {now}."

        was = shown(choice.what, choice.crm_id)
        words = f"It is {was}. {KEPT} Orders to come get the other one."
        return self._ask(request, choice, "Choose another", words, perform, AnotherForm)

    @action(description="Forget…", permissions=["choose"], url_path="forget", icon="delete")
    def forget(self, request: HttpRequest, object_id: str) -> HttpResponse:
        choice = get_object_or_404(RememberedChoice, pk=object_id)

        def perform(said: dict[str, str]) -> str:
            by, was = request.user.get_username(), shown(choice.what, choice.crm_id)
            self._recorded("forget chosen customer", choice, by, said, f"{was} of {choice.connection}")
            RememberedChoice.objects.filter(pk=choice.pk).delete()
            return "It is forgotten."

        words = f"The next order of which several customers fit asks again. {KEPT}"
        return self._ask(request, choice, "Forget", words, perform, back="admin:sync_rememberedchoice_changelist")

    def _recorded(self, did: str, choice: RememberedChoice, by: str, said: dict[str, str], result: str) -> None:
        audit.record(did, actor=by, reason=said["reason"], event=choice.event, result=result)

    def _ask(
        self,
        request: HttpRequest,
        choice: RememberedChoice,
        button: str,
        words: str,
        perform: Any,
        form_class: type[ReasonForm] = ReasonForm,
        back: str = "",
    ) -> HttpResponse:
        page = reverse("admin:sync_rememberedchoice_change", args=[choice.pk])
        return ask_reason(
            request,
            self.admin_site,
            title=f"{button}: {shown(choice.what, choice.crm_id)}",
            words=words,
            button=button,
            back=reverse(back) if back and request.method == "POST" else page,
            perform=perform,
            form_class=form_class,
        )

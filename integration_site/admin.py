"""Who is signed in, and the end of it. allauth's other tables have no pages here: people see to their own account,
commands to others' (docs/sign-in.md)."""

from allauth.account.models import EmailAddress, EmailConfirmation
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from allauth.usersessions.models import UserSession
from django.contrib import admin
from django.contrib.sessions.models import Session
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from unfold.decorators import action

from orders import audit
from orders.asking import NotDone, ask_reason
from sync.admin.people import is_within_reach
from webhooks.backoffice.display import time_column
from webhooks.backoffice.lists import ReadOnlyAdmin, may
from webhooks.backoffice.pages import list_of

for model in (EmailAddress, EmailConfirmation, Authenticator, SocialAccount, SocialApp, SocialToken, UserSession):
    if admin.site.is_registered(model):
        admin.site.unregister(model)


@admin.register(UserSession)
class SessionAdmin(ReadOnlyAdmin):
    """Of everybody. One's own are in the menu of one's name."""

    list_display = ("user", "began", "address", "browser")
    list_select_related = ("user",)
    fields = ("user", "began", "address", "browser")
    search_fields = ("=user__username",)
    search_help_text = "Exact name of a person"
    actions_detail = ("end",)
    has_end_permission = may("usersessions.change_usersession")

    def get_queryset(self, request: HttpRequest) -> QuerySet[UserSession]:
        """Those that have not run out."""
        going_on = Session.objects.filter(expire_date__gt=timezone.now()).values("session_key")
        return super().get_queryset(request).filter(session_key__in=going_on)

    began = time_column("created_at", "Signed in", ordering="created_at")

    @admin.display(description="From", ordering="ip")
    def address(self, session: UserSession) -> str:
        return session.ip

    @admin.display(description="Browser")
    def browser(self, session: UserSession) -> str:
        return session.user_agent or "–"

    @action(description="End…", permissions=["end"], url_path="end", icon="logout")
    def end(self, request: HttpRequest, object_id: str) -> HttpResponse:
        session = get_object_or_404(self.get_queryset(request), pk=object_id)
        name = session.user.get_username()

        def perform(said: dict[str, str]) -> str:
            if session.session_key == request.session.session_key:
                raise NotDone("This is the session that you are using. Log out instead.")
            if not is_within_reach(request, session.user):
                raise NotDone(f"{name} may do what you may not. Ask a superuser to end this session.")
            session.end()
            result = f"{name}, signed in {session.created_at:%F %R} UTC from {session.ip}."
            audit.record("end session", actor=said["by"], reason=said["reason"], result=result)
            return f"The session of {name} has ended."

        return ask_reason(
            self,
            request,
            session,
            title=f"End the session of {name}",
            words="Whoever uses it is asked to sign in with the next click. To keep the person out, untick Active in "
            "Users first: that ends all of their sessions.",
            button="End the session",
            back=list_of(self),
            perform=perform,
        )

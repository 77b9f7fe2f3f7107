"""Which of several records of a CRM is meant: what waits for a person, and what a person chose before."""

from django.db import models
from django.utils import timezone

from webhooks.connections import Connection
from webhooks.models import WebhookEvent


class RememberedChoice(models.Model):
    """What a person chose. It counts for every order of this customer, whatever the order's bridge."""

    id = models.BigAutoField(primary_key=True)
    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="+")
    what = models.CharField(max_length=16, help_text="customer …")
    key = models.CharField(max_length=32, help_text="Keyed hash of the e-mail address or phone number")
    crm_id = models.CharField("id in the CRM", max_length=64, blank=True, help_text="Empty: a new one is made")
    event = models.ForeignKey(
        WebhookEvent, on_delete=models.PROTECT, related_name="+", db_index=False, help_text="That asked first"
    )
    chosen_by = models.CharField(max_length=150)
    chosen_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-id"]
        verbose_name = "choice of a customer"
        verbose_name_plural = "choices of customers"
        default_permissions = ("view",)
        permissions = [("choose_customer", "Can choose which of several customers of the CRM an order belongs to")]
        constraints = [models.UniqueConstraint(fields=["connection", "what", "key"], name="choice_once")]

    def __str__(self) -> str:
        return f"{self.what}, choice {self.pk}"


class OpenChoice(models.Model):
    """A parked event's question, with all that the CRM showed when it was asked: it may be away when a person looks."""

    event = models.OneToOneField(WebhookEvent, on_delete=models.PROTECT, primary_key=True, related_name="open_choice")
    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="+")
    what = models.CharField(max_length=16)
    key = models.CharField(max_length=32)
    wanted = models.JSONField(default=dict, help_text="What the order itself says")
    candidates = models.JSONField(default=list, help_text="id, name and details of each")
    may_create = models.BooleanField(default=False, help_text="A new one can be made instead")
    asked_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["connection", "what", "key"], name="open_choice_of")]

    def __str__(self) -> str:
        return f"{self.what} of {self.event}"

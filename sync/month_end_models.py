"""What both sides said of each order of a period, when a month-end proof was made."""

from decimal import Decimal

from django.db import models


class MonthEndOrder(models.Model):
    """One order of one proof. Amounts are kept as text: SQLite has no exact decimals."""

    class Standing(models.TextChoices):
        LINKED = "linked", "On both sides"
        FILTERED = "filtered", "Not sent, by the rules"
        NOT_LINKED = "not_linked", "Not in the CRM"
        LOST = "lost", "Lost in the CRM"
        GONE = "gone", "Not in the shop any more"
        UNREADABLE = "unreadable", "Could not be read"

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey("sync.Run", on_delete=models.CASCADE, related_name="month_end_orders")
    woo_id = models.BigIntegerField("shop order")
    number = models.CharField(max_length=64, blank=True)
    created = models.CharField(max_length=32, blank=True, help_text="In the shop, UTC")
    standing = models.CharField(max_length=12, choices=Standing.choices)
    refused = models.BooleanField(default=False, help_text="Its last move was refused")
    currency = models.CharField(max_length=8, blank=True)
    shop_status = models.CharField(max_length=64, blank=True)
    shop_total = models.CharField(max_length=32, blank=True, help_text="Empty: it is not there")
    crm_order_id = models.CharField("CRM order", max_length=64, blank=True)
    crm_status = models.CharField(max_length=64, blank=True)
    crm_total = models.CharField(max_length=32, blank=True, help_text="Empty: it is not there, or the CRM does not say")

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["run", "woo_id"], name="order_of_proof_once")]

    def __str__(self) -> str:
        return f"order {self.woo_id}: {self.get_standing_display()}"

    @property
    def difference(self) -> Decimal | None:
        """Of the totals; None: one of them is not known."""
        if not (self.shop_total and self.crm_total):
            return None
        return Decimal(self.shop_total) - Decimal(self.crm_total)

    @property
    def agrees(self) -> bool:
        return self.standing == self.Standing.FILTERED or (
            self.standing == self.Standing.LINKED and not self.difference
        )

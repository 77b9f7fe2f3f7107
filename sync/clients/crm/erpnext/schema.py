"""What a connection to ERPNext is told."""

from dataclasses import replace

from sync.clients.crm.schema import MAKE_PRODUCTS, WEBHOOK_SECRETS, SettingField

SCHEMA = (
    SettingField(
        name="url",
        label="Address",
        help="The address of the ERPNext site, as in https://erp.example",
    ),
    SettingField(
        name="token",
        label="API key and secret",
        help="KEY:SECRET of the user for Orderbridge. ERPNext shows both under User, Settings, API Access, Generate "
        "Keys; the secret only once",
        secret=True,
    ),
    SettingField(
        name="company",
        label="Company",
        help="The name of the company that sells. Needed where ERPNext holds several",
        required=False,
    ),
    SettingField(
        name="submit",
        label="Submit orders",
        help="draft: orders stay drafts until somebody submits them. paid: they are submitted once the shop shows them "
        "as paid. all: at once",
        default="draft",
        choices=("draft", "paid", "all"),
    ),
    SettingField(
        name="placeholder_item",
        label="Item for what has no SKU",
        help="ERPNext wants an item on each line. This one (make it there: not in stock, may be sold) stands for "
        "products without a SKU or with an unknown one; their name is the line's text",
        default="WOO-ITEM",
    ),
    MAKE_PRODUCTS,
    SettingField(
        name="item_group",
        label="Group of new items",
        help="The item group into which new items go",
        required=False,
        default="Products",
    ),
    SettingField(
        name="tax_account",
        label="Account for taxes",
        help="The account that taxes go to, as ERPNext names it: VAT 19 % - ABC. Empty: the only one of the type Tax",
        required=False,
    ),
    SettingField(
        name="shipping_account",
        label="Account for shipping",
        help="The account that shipping goes to: Freight and Forwarding Charges - ABC. Empty: the only one of the type "
        "Chargeable",
        required=False,
    ),
    SettingField(
        name="fee_account",
        label="Account for fees and discounts",
        help="The account that fees and discounts go to. Empty: that for shipping",
        required=False,
    ),
    SettingField(
        name="customer_group",
        label="Group of new customers",
        help="The customer group of new customers. Empty: as ERPNext's Selling Settings say",
        required=False,
    ),
    SettingField(
        name="territory",
        label="Territory of new customers",
        help="As with the group",
        required=False,
    ),
    SettingField(
        name="time_zone",
        label="Time zone of the site",
        help="As in Europe/Berlin. Empty: ERPNext is asked. Only needed if its System Settings are wrong",
        required=False,
    ),
    SettingField(
        name="site",
        label="Name of the site",
        help="Only where the address leads to a server that has several sites and tells them apart by the Host header",
        required=False,
    ),
    replace(
        WEBHOOK_SECRETS,
        help="The secret of the webhook in ERPNext (docs/crms/erpnext.md). Several are separated by commas, and "
        "all are accepted. Empty: ERPNext is asked every few minutes what changed",
    ),
)

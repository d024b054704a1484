"""Words that the simulated company is made of, and the names that break programs."""

from collections.abc import Mapping

Tree = Mapping[str, "Tree"]

FIRST = (  # noqa: SIM905 - a list of quoted words would be five times as long
    "Ada Aisha Alan Amara Anna Arjun Astrid Beatriz Björn Carlos Chen Chloé Daniel Diego Elena Emma Farid Fatima "
    "Felix Freya Giulia Grace Hana Hugo Ines Ivan Jonas Julia Kenji Lars Leila Liam Lucía Magda Marie Mateo Mei "
    "Mohamed Nadia Nils Noor Olivia Omar Paula Pedro Priya Rosa Samuel Sofia Tomasz Uma Victor Wei Yara Zoë"
).split()
LAST = (  # noqa: SIM905 - see above
    "Almeida Andersen Becker Bianchi Carter Chen Costa Dubois Eriksson Fernandes Fischer García Haddad Hansen Ibrahim "
    "Ito Jansen Kaya Kowalski Kumar Laurent Lindqvist López Martin Meyer Moreau Nakamura Novak Nowak O'Brien Okafor "
    "Olsen Patel Petrov Quinn Ricci Rossi Santos Schmidt Silva Singh Smith Sørensen Tanaka Thomas Türk Ueda Vargas "
    "Weber Wong Yilmaz Żółć"
).split()

SUBJECTS = (
    "Sales",
    "Revenue",
    "Churn",
    "Inventory",
    "Headcount",
    "Budget",
    "Campaign",
    "Web Traffic",
    "Support Tickets",
    "Cash Flow",
    "Margin",
    "Orders",
    "Returns",
    "Supply Chain",
    "Quality",
    "Risk",
    "Travel Expenses",
    "Energy",
    "Leads",
    "Contracts",
)
SHAPES = ("Overview", "Dashboard", "Analysis", "Report", "Tracker", "Scorecard", "Explorer")
SHEETS = ("Overview", "Detail", "Trend", "Map", "KPIs", "Forecast", "Top 10", "By Region", "Year over Year", "Read me")
SOURCES = (
    "Orders",
    "Customers",
    "Ledger",
    "Web Events",
    "HR Master",
    "Tickets",
    "Stock",
    "Campaigns",
    "Calendar",
    "FX",
)
DATABASES = ("sqlserver", "postgres", "snowflake", "oracle", "redshift", "excel-direct")

# Workbooks that exist on every site under the same name and the same repository_url.
EVERYWHERE = ("Executive Dashboard", "Sales Overview", "Pipeline")

# Names as users type them: each broke some program.
ODD = (
    'O\'Reilly "quoted" `name`',
    "back\\slash \\n \\u0041",
    "line\nbreak",
    "tab\tstop|pipe",
    "🚀 Rocket 📊 e\u0301",
    "<script>alert(1)</script>",
    "Long " + "very " * 48 + "long",
    "תקציב 2025 تقرير",
    "\u202eright-to-left override",
    "trailing spaces   ",
    "{braces} {{ 7*7 }} ${home}",
    "100% complete %s %d %",
    "=HYPERLINK(1)",
    "Robert'); DROP TABLE workbooks;--",
)

# Tops of the project trees and the projects below them.
PROJECTS: Tree = {
    "Sales": {"EMEA": {"Archive": {}}, "Americas": {}, "APAC": {}},
    "Finance": {"EMEA": {"Month End": {}}, "Audit": {}},
    "Marketing": {"Campaigns": {}, "R&D / Labs": {}},
    "Operations": {"Plants": {"Line 1": {}, "Line 2": {}}},
    "People": {},
    "Sandbox": {"<b>Bold</b>": {}},
    "Data Products": {},
}

FAILURES = (
    'Unable to connect to the server "warehouse.example.com". Check that the server is running.\nError Code: 10061',
    "Login failed for user 'etl_reader'. The password of the account has expired.",
    "com.tableausoftware.nativeapi.ProtocolException: [Snowflake][Support] (50510) Unable to load credentials",
    "The query has exceeded the time limit of 7200 seconds: <timeout & cancelled>",
    "Column 'net_amount' does not exist in table \"ledger\".\n\tUnable to create extract",
)

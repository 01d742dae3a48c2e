"""Who logged in, from where, how often, and why were others refused? Outcomes in, one Report out; reads no files.

`aggregation` counts the lines with bounded memory and makes a Report; `jsontext`, `tables` and `page` say the same
Report as JSON, for a terminal and as one HTML page.
"""

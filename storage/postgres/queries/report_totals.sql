{report_items}
SELECT {report_sums} FROM (SELECT *, {report_billed} AS billed_seconds FROM chosen c) billed

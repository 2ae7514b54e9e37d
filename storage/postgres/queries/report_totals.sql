{report_items}
SELECT {report_sums} FROM chosen

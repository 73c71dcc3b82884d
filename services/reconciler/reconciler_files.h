/* The last report of a reconciler as files for people and programs:
 *
 *   <folder>/report.txt    a sentence, then one line per finding, worst first; then which replicas
 *                          were held against their logs, oldest first, and what differed
 *   <folder>/report.json   the same; texts and names are ASCII
 *
 * They are replaced (temporary name, sync, rename, sync of the folder) only when something but
 * times and ages has changed, so an idle mesh writes nothing. */
#ifndef TIDAL_SERVICES_RECONCILER_RECONCILER_FILES_H
#define TIDAL_SERVICES_RECONCILER_RECONCILER_FILES_H

#include "common/cluster/reconcile.h"

/* Lines of a file, the worst; some 400 KiB. The rest is counted. */
enum { RECONCILER_FILES_LINE_COUNT_MAX = 1024 };

/* Append the whole report. in has_times  false: without time and ages */
void reconciler_files_text(const reconcile_report_t *report,
                           const reconcile_view_t *view,
                           bool has_times,
                           buffer_t *out);
void reconciler_files_json(const reconcile_report_t *report,
                           const reconcile_view_t *view,
                           bool has_times,
                           buffer_t *out);

typedef struct reconciler_files reconciler_files_t;

/* in disk    borrowed
 *    folder  copied; made when it is missing */
reconciler_files_t *reconciler_files_new(const disk_t *disk, const char *folder);
void reconciler_files_destroy(reconciler_files_t **self_p);

/* Both files are durable when ERR_OK, or were so already. After an error the next call writes them
 * whole again; those that were there stay.
 * out ret_written  whether something was written
 * errs those of the disk */
err_t reconciler_files_save(reconciler_files_t *self,
                            const reconcile_report_t *report,
                            const reconcile_view_t *view,
                            bool *ret_written,
                            errbuf_t *errbuf);

#endif

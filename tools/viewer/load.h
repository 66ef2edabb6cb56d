/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a view: profiles, the NEFFs they are of, and the folders of inspections. Failures
 * are said on the standard error, after the tool's name. */
#ifndef VIEWER_LOAD_H
#define VIEWER_LOAD_H

#include "neff/file.h"
#include "viewer/scratch.h"
#include "viewer/sources.h"
#include "viewer/system.h"

struct viewer_entry { /* a model of a profile that was executed in it */
    struct viewer_model model;
    struct viewer_figures figures;
    struct viewer_scratch scratch;
    struct viewer_shown shown;
};

struct viewer_set {
    const char *tool;
    struct viewer_input **inputs;
    size_t input_count, input_cap;
    struct viewer_neff **neffs;
    size_t neff_count, neff_cap;
    struct viewer_system *systems;
    size_t system_count, system_cap;
    bool no_profiles, no_systems;  /* set before the folders: what of them is not looked at */
    bool track;                    /* set before the count: the scratchpad too */
    struct viewer_sources sources; /* its roots: before the count */
    struct viewer_entry **entries; /* in the order of files and models */
    size_t entry_count, entry_cap;
};

/* Each: false when a message said why. */
bool viewer_set_profile(struct viewer_set *s, const char *path);
bool viewer_set_neff(struct viewer_set *s, const char *path);
/* What lies in the folder and in those below, by name: *.ntff, *.neff, and the files of system
 * profiles. */
bool viewer_set_folder(struct viewer_set *s, const char *path);
/* Counts all profiles; says what was dropped when they were captured. */
bool viewer_set_count(struct viewer_set *s);
/* A name that only these profiles have: "n_" of one, "p_" of several, and 40 hexadecimal digits of
 * a digest of what they hold. False: there is none, or no digest. */
#define VIEWER_SET_NAME_SIZE 43
bool viewer_set_name(const struct viewer_set *s, char ret[VIEWER_SET_NAME_SIZE]);
void viewer_set_fini(struct viewer_set *s);

#endif

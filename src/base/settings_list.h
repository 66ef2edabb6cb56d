/* SPDX-License-Identifier: Apache-2.0 */
/* Every environment variable, once: X(NAME, TYPE, "default", EFFECT, "help"), in the order of
 * docs/spec/behaviour.md 1.2, then the project's own (1.2.1), then names that are no more.
 * TYPE: INT BOOL WORD LIST LEVEL TARGET PATH TEXT (settings.h).
 * EFFECT: Y it has one, P accepted and checked, without effect on a software device, R removed. */
#ifndef BASE_SETTINGS_LIST_H
#define BASE_SETTINGS_LIST_H

/* clang-format off */
#define SETTINGS_LIST(X) \
    X(NEURON_RT_VISIBLE_CORES, LIST, "all", Y, "cores to own: indices and ranges, contiguous and increasing") \
    X(NEURON_RT_NUM_CORES, INT, "0", Y, "number of cores to own; 0 is all") \
    X(NEURON_LOGICAL_NC_CONFIG, INT, "2 on trn2 and trn3, else 1", Y, "physical cores per logical core, 1 or 2") \
    X(NEURON_RT_VIRTUAL_CORE_SIZE, INT, "as NEURON_LOGICAL_NC_CONFIG", Y, "older name of NEURON_LOGICAL_NC_CONFIG, which wins") \
    X(NEURON_RT_LOG_LOCATION, TARGET, "console", Y, "log target: console, syslog or a file") \
    X(NEURON_RT_LOG_LEVEL, LEVEL, "ERROR", Y, "verbosity: QUIET ERROR WARN INFO DEBUG TRACE") \
    X(NEURON_RT_LOG_LEVEL_TDRV, LEVEL, "NEURON_RT_LOG_LEVEL", Y, "verbosity of component TDRV") \
    X(NEURON_RT_LOG_LEVEL_NMGR, LEVEL, "NEURON_RT_LOG_LEVEL", Y, "verbosity of component NMGR; also _KMGR") \
    X(NEURON_RT_LOG_LEVEL_NRT, LEVEL, "NEURON_RT_LOG_LEVEL", Y, "verbosity of component NRT") \
    X(NEURON_RT_LOG_LEVEL_HAL, LEVEL, "NEURON_RT_LOG_LEVEL", Y, "verbosity of component HAL") \
    X(NEURON_RT_LOG_LOCATION_TDRV, TARGET, "NEURON_RT_LOG_LOCATION", Y, "log target of component TDRV") \
    X(NEURON_RT_LOG_LOCATION_NMGR, TARGET, "NEURON_RT_LOG_LOCATION", Y, "log target of component NMGR; also _KMGR") \
    X(NEURON_RT_LOG_LOCATION_NRT, TARGET, "NEURON_RT_LOG_LOCATION", Y, "log target of component NRT") \
    X(NEURON_RT_LOG_LOCATION_HAL, TARGET, "NEURON_RT_LOG_LOCATION", Y, "log target of component HAL") \
    X(NEURON_RT_EXEC_TIMEOUT, INT, "30", Y, "execution timeout in seconds; 0 is no limit") \
    X(NEURON_RT_VALIDATE_HASH, BOOL, "FALSE", Y, "check the NEFF's hash at load") \
    X(NEURON_RT_ALLOW_LEGACY_NEFF, BOOL, "FALSE", Y, "accept a NEFF built for an older architecture") \
    X(NEURON_RT_MULTI_INSTANCE_SHARED_WEIGHTS, BOOL, "FALSE", Y, "share weights between the instances of one model") \
    X(NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS, INT, "0", Y, "depth of the implicit asynchronous queue; 0 is off") \
    X(NEURON_RT_STOCHASTIC_ROUNDING_EN, BOOL, "FALSE", Y, "stochastic rounding on down-casts from fp32") \
    X(NEURON_RT_STOCHASTIC_ROUNDING_SEED, INT, "0", Y, "seed of stochastic rounding") \
    X(NEURON_RT_ROOT_COMM_ID, TEXT, "unset", Y, "bootstrap address of rank 0: <ip>:<port> or [<ipv6>]:<port>") \
    X(NEURON_RT_RESET_CORES, BOOL, "1", Y, "reset the owned cores in nrt_init") \
    X(NEURON_RT_NUMERICAL_ERRORS_VERBOSITY, WORD, "unset", Y, "critical: NaN is an execution error") \
    X(NEURON_FAIL_ON_NAN, BOOL, "0", Y, "as NEURON_RT_NUMERICAL_ERRORS_VERBOSITY=critical") \
    X(NEURON_RT_DBG_DUMP_INPUTS_ON_ERR, INT, "0", Y, "dump inputs when an execution ends with this status; 0 is off") \
    X(NEURON_RT_DUMP_INPUTS_ON_ERR, INT, "0", Y, "older name of NEURON_RT_DBG_DUMP_INPUTS_ON_ERR") \
    X(NEURON_RT_CONTIGUOUS_SCRATCHPAD, BOOL, "1 where supported", Y, "one contiguous shared scratchpad region") \
    X(NEURON_SCRATCHPAD_PAGE_SIZE, INT, "512", Y, "scratchpad page in MB when not contiguous, a multiple of 512") \
    X(NEURON_RT_ONE_TMPBUF_PAGE_SIZE_MB, INT, "unset", Y, "older name of NEURON_SCRATCHPAD_PAGE_SIZE, which wins") \
    X(NEURON_RT_ENABLE_DEVICE_MEMORY_OOM_LOG, BOOL, "1", Y, "0 suppresses the out-of-memory report") \
    X(NEURON_RT_DEBUG_MEMLOG_MAX_SIZE, INT, "1048576", Y, "entries of the allocation log") \
    X(NEURON_RT_PROFILE_BUF_EVENT_MB, INT, "64", Y, "profile buffer of events, MB") \
    X(NEURON_RT_PROFILE_BUF_DMA_MB, INT, "128", Y, "profile buffer of DMA, MB") \
    X(NEURON_RT_PROFILE_BUF_THROTTLE_MB, INT, "64", Y, "profile buffer of throttling, MB") \
    X(NEURON_RT_PROFILE_BUF_CC_CORE_INSTRUCTION_MB, INT, "64", Y, "profile buffer of CC-core instructions, MB") \
    X(NEURON_RT_PROFILE_BUF_CC_CORE_EVENT_MB, INT, "64", Y, "profile buffer of CC-core events, MB") \
    X(NEURON_RT_ENABLE_DGE_NOTIFICATIONS, BOOL, "0", Y, "label transfers of generated descriptors in profiles") \
    X(NEURON_RT_DBG_DMA_PACKETIZATION_SIZE, INT, "4096", P, "packet size of compiler-built rings, bytes, at least 4096") \
    X(NEURON_RT_DBG_CC_DMA_PACKET_SIZE, LIST, "65536", P, "packet size of collective copies, bytes, at most 65536, per stream") \
    X(NEURON_RT_DBG_INTRA_RDH_CHANNEL_BUFFER_SIZE, INT, "unset", P, "channel buffer of the recursive algorithm inside a node, bytes") \
    X(NEURON_RT_LOW_LATENCY_TASKS_CPU_AFFINITY, LIST, "unset", Y, "CPUs of the proxy threads") \
    X(NEURON_RT_ONE_THREAD_PER_CORE, BOOL, "off", Y, "each proxy thread on a CPU core of its own") \
    X(NEURON_RT_RANKS_PER_NETWORK_PROXY, INT, "1", Y, "ranks per proxy thread") \
    X(NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY, TEXT, "/tmp/neuron-core-dump/dt-%d-cid-%c", Y, "root of core dumps, with %d %c %p %t %l %i") \
    X(NEURON_RT_S3_CORE_DUMP_PREFIX, TEXT, "unset", Y, "handed to neuron-dump") \
    X(NEURON_RT_DEBUG_STREAM_BUFFER_SIZE, INT, "65536", Y, "events that the debug stream holds") \
    X(NEURON_RT_DEBUG_OUTPUT_DIR, PATH, "unset", Y, "where device prints of tensors go") \
    X(NEURON_RT_GPSIMD_STDOUT_QUEUE_SIZE_BYTES, INT, "0", Y, "buffer of device printf, a power of two up to 131072; 0 is off") \
    X(NEURON_RT_ASYNC_SENDRECV_EXPERIMENTAL_ENABLED, BOOL, "0", Y, "tensor send and receive") \
    X(NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT, INT, "45645", Y, "tensor send and receive: logical core n listens at this TCP port + n") \
    X(NEURON_RT_ULTRASERVER_MODE, WORD, "unset", P, "UltraServer mode given by the deployment") \
    X(NEURON_RT_ULTRASERVER_SERVER_ID, TEXT, "unset", P, "UltraServer id given by the deployment") \
    X(NEURON_RT_ULTRASERVER_NODE_ID, INT, "unset", P, "node of the UltraServer given by the deployment") \
    X(NEURON_PROCESS_TAG, TEXT, "the pid", Y, "tag of the application for the tools, at most 255 bytes") \
    X(NEURON_RT_INSPECT_ENABLE, BOOL, "0", Y, "capture from init to close") \
    X(NEURON_RT_INSPECT_OUTPUT_DIR, PATH, "./output", Y, "where captures go") \
    X(NEURON_RT_INSPECT_SYSTEM_PROFILE, BOOL, "1 when inspecting", Y, "capture the system") \
    X(NEURON_RT_INSPECT_DEVICE_PROFILE, WORD, "0", Y, "capture devices: 0, 1 or model, session") \
    X(NEURON_RT_INSPECT_ON_FAIL, BOOL, "0", Y, "device profile when an execution fails") \
    X(NEURON_RT_INSPECT_CPU_UTIL, BOOL, "off", Y, "sample CPU use") \
    X(NEURON_RT_INSPECT_HOST_MEMORY, BOOL, "off", Y, "sample host memory") \
    X(NEURON_RT_INSPECT_SYS_TRACE_MAX_EVENTS_PER_NC, INT, "1000000", Y, "trace ring per core, events") \
    X(NEURON_RT_INSPECT_EVENT_FILTER_NC, LIST, "all", Y, "cores captured") \
    X(NEURON_RT_INSPECT_EVENT_FILTER_TYPE, LIST, "all", Y, "events captured: names, hardware, software, ^name") \
    X(NEURON_RT_INSPECT_PRECACHE_ENABLE, BOOL, "0", P, "profile before the graph cache is filled") \
    X(OPENNRT_INSTANCE_TYPE, WORD, "trn1.2xlarge", Y, "instance type that the first process creates") \
    X(OPENNRT_INSTANCE, WORD, "default", Y, "name of the instance, so that several live on one machine") \
    X(OPENNRT_DIR, PATH, "unset", Y, "folder for HBM files where memfds cannot be attached") \
    X(OPENNRT_HBM_MIB, INT, "as the type has", Y, "MiB of each HBM, where a machine is to have less than the type") \
    X(OPENNRT_NEFF_LENIENT, BOOL, "0", Y, "lenient reading of NEFFs") \
    X(OPENNRT_CPU_NODES, BOOL, "1", Y, "0 forbids CPU nodes") \
    X(OPENNRT_MATH, WORD, "fast", Y, "exact: run the portable definition of every kernel") \
    X(OPENNRT_CHECK, LIST, "unset", Y, "checks while executing: race, uninit; another word: no load") \
    X(OPENNRT_MAX_JSON, INT, "268435456", Y, "largest JSON member read, bytes") \
    X(OPENNRT_HOST_THREADS, INT, "CPUs of the mask", Y, "threads of the kernel pool") \
    X(OPENNRT_JOB_KEY, TEXT, "unset", Y, "key that the ranks of a job share") \
    X(OPENNRT_JOIN_TIMEOUT, INT, "0", Y, "seconds until all ranks must have joined; 0 is no limit") \
    X(OPENNRT_TUNE, PATH, "the user's cache folder", Y, "file of opennrt tune; 0: the fixed table of means") \
    X(OPENNRT_FAULT, LIST, "unset", Y, "faults on demand") \
    X(OPENNRT_DEVICE_TIME, BOOL, "0", Y, "log the device time of every execution at INFO") \
    X(OPENNRT_TIMELINE, PATH, "unset", Y, "file to which every execution adds its device time, for Perfetto") \
    X(OPENNRT_NEURON_DUMP, PATH, "/opt/aws/neuron/bin/neuron-dump", Y, "what is run for a core dump") \
    X(OPENNRT_SIGNAL_DUMP, BOOL, "0", Y, "1 installs chained signal handlers that dump") \
    X(NEURON_RT_INSPECT_DURATION_NSEC, TEXT, "-", R, "removed") \
    X(NEURON_RT_INSPECT_START_OFFSET_NSEC, TEXT, "-", R, "removed") \
    X(NEURON_RT_INSPECT_DUMP_PERIOD_SEC, TEXT, "-", R, "removed") \
    X(NEURON_RT_DBG_NDET_FLUSH_USEC, TEXT, "-", R, "removed") \
    X(NEURON_RT_DBG_NDET_LOG_LOCATION, TEXT, "-", R, "removed") \
    X(NEURON_RT_DBG_NDET_NUM_ENTRIES, TEXT, "-", R, "removed") \
    X(NEURONCORE_GROUP_SIZES, TEXT, "-", R, "deprecated") \
    X(NEURON_RTD_ADDRESS, TEXT, "-", R, "of the runtime 1.x") \
    X(NEURON_RTD_USE_SHM, TEXT, "-", R, "of the runtime 1.x") \
    X(NEURON_MAX_NUM_INFERS, TEXT, "-", R, "of the runtime 1.x") \
    X(NEURON_PROFILE, TEXT, "-", R, "of the runtime 1.x")
/* clang-format on */

#endif

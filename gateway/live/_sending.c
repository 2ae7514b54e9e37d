/* One message to many sockets, in one call. What it does for the fan-out is said in sending.py.

   send_all(descriptors, begin, end, data) -> [(index, sent), ...]
   `descriptors`: a buffer of C ints, for instance array("i"); negative ones are passed over. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <sys/socket.h>

#ifndef MSG_NOSIGNAL /* macOS; Python ignores SIGPIPE there and everywhere */
#define MSG_NOSIGNAL 0
#endif

typedef struct {
  Py_ssize_t index, sent;
} Short;

static PyObject *told(const Short *shorts, Py_ssize_t count) {
  PyObject *list = PyList_New(count);
  for (Py_ssize_t i = 0; list != NULL && i < count; i++) {
    PyObject *pair = Py_BuildValue("(nn)", shorts[i].index, shorts[i].sent);
    if (pair == NULL)
      Py_CLEAR(list);
    else
      PyList_SET_ITEM(list, i, pair);
  }
  return list;
}

static PyObject *send_all(PyObject *module, PyObject *args) {
  Py_buffer descriptors, data;
  Py_ssize_t begin, end, count = 0;
  if (!PyArg_ParseTuple(args, "y*nny*", &descriptors, &begin, &end, &data)) return NULL;
  PyObject *result = NULL;
  const int *descriptor = descriptors.buf;
  if (begin < 0 || end < begin || end > descriptors.len / (Py_ssize_t)sizeof(int)) {
    PyErr_SetString(PyExc_IndexError, "from begin to end there must be descriptors");
    goto done;
  }
  Short *shorts = PyMem_Malloc((end - begin + 1) * sizeof *shorts);
  if (shorts == NULL) {
    PyErr_NoMemory();
    goto done;
  }
  Py_BEGIN_ALLOW_THREADS
  for (Py_ssize_t i = begin; i < end; i++) {
    ssize_t sent;
    if (descriptor[i] < 0) continue;
    do
      sent = send(descriptor[i], data.buf, data.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent != data.len) shorts[count++] = (Short){i, sent < 0 ? 0 : sent};
  }
  Py_END_ALLOW_THREADS
  result = told(shorts, count);
  PyMem_Free(shorts);
done:
  PyBuffer_Release(&descriptors);
  PyBuffer_Release(&data);
  return result;
}

static PyMethodDef methods[] = {{"send_all", send_all, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "gateway.live._sending", NULL, 0, methods};

PyMODINIT_FUNC PyInit__sending(void) { return PyModuleDef_Init(&module); }
